"""Modules without shapes yet don't stand in the way of finding layers."""

import torch
from torch import nn
from toys import Module

from rankwatch.extraction.model.layers import find_layers
from rankwatch.extraction.model.lazy_modules import is_unbuilt, shape


def test_blocks_are_found_before_and_after_they_are_built():
    model = Module().eval()
    for block in model.encoder.layers:
        block.inner.linear1 = nn.LazyLinear(64)
    assert is_unbuilt(model)
    before = [layer.name for layer in find_layers(model)]
    with torch.no_grad():
        model.encoder(torch.randn(2, 600), torch.tensor([600, 500]))
    assert not is_unbuilt(model)
    assert before == [layer.name for layer in find_layers(model)]
    assert len(before) == 4


def test_a_buffer_may_be_without_shape_too():
    assert is_unbuilt(nn.LazyBatchNorm1d(affine=False))
    assert shape(nn.LazyLinear(2).weight) == ()
    assert shape(nn.Linear(3, 2).weight) == (2, 3)
