"""Where a layer was tapped in a training pass, read off the graph that is there anyway."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from rankwatch.extraction.taps.gradient_taps import tap_by_gradients

WIDTH = 8
LINEAR, NORM = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)
SCALE = nn.Parameter(torch.ones(WIDTH))
KEEP = (torch.arange(5) < 3)[None, :, None]
FEATURES = torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(0))


class Custom(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (lambda x, y: x + y, "residual_sum"),
        (lambda x, y: (x + SCALE * y).transpose(0, 1), "residual_sum"),
        (lambda x, y: functional.dropout(x + y) * KEEP, "residual_sum"),
        (lambda x, y: NORM(x + y).bfloat16(), "norm"),
        (lambda x, y: functional.dropout(y), "linear"),
        (lambda x, y: y + SCALE, "linear"),
        (lambda x, y: functional.gelu(y), "activation"),
        (lambda x, y: x + y.mean(1, keepdim=True), "other"),
        (lambda x, y: x.sigmoid() * y, "other"),
        (lambda x, y: FEATURES + y, "unknown"),  # they may be a positional table, or the residual path
        (lambda x, y: Custom.apply(x + y), "unknown"),
        (lambda x, y: checkpoint(torch.add, x, y, use_reentrant=True), "unknown"),
        (lambda x, y: (x + y).detach(), "unknown"),
    ],
)
def test_what_a_block_ends_with(end, expected):
    x = LINEAR(FEATURES)
    assert tap_by_gradients(end(x, functional.dropout(LINEAR(x)))) == expected


def test_compiled_code_says_nothing():
    x = LINEAR(FEATURES)
    assert tap_by_gradients(torch.compile(lambda x: x + LINEAR(x), backend="aot_eager")(x)) == "unknown"


def test_it_is_only_read():
    x = LINEAR(FEATURES)
    out = x + LINEAR(x)
    tap_by_gradients(out)
    out.sum().backward()
    assert LINEAR.weight.grad.abs().sum() > 0
