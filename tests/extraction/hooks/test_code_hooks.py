"""Hooks on quantizers that were compiled, or that are part of what was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch._dynamo
from quantizer_toys import RandomQuantizer
from torch import Tensor, nn

from rankwatch.extraction.hooks.code_hooks import CodeHooks
from rankwatch.extraction.model.quantizers import find_quantizers


class GumbelQuantizer(nn.Module):
    """Its codes are in the logits of its projection, which is compiled with it."""

    num_vars = 6

    def __init__(self) -> None:
        super().__init__()
        self.weight_proj = nn.Linear(8, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        chances = self.weight_proj(x).softmax(dim=-1)
        return chances @ chances.transpose(1, 2), chances.mean(dim=(0, 1)).square().sum().reciprocal()


class Model(nn.Module):
    def __init__(self, quantizer: nn.Module) -> None:
        super().__init__()
        self.quantizer, self.head = quantizer, nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.quantizer(self.head(x))


@pytest.fixture(autouse=True)
def _nothing_compiled_before() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def _calls_heard(model: Model, hooks: CodeHooks) -> int:
    hooks.listen(model)
    model(torch.randn(4, 7, 8))
    hooks.stop()
    draws, _, failures = hooks.take()
    assert not failures
    return len(draws.get("quantizer", []))


@pytest.mark.parametrize("kind", [RandomQuantizer, GumbelQuantizer])
def test_a_quantizer_that_is_one_graph_is_heard_from_outside(kind: type[nn.Module]) -> None:
    model = Model(kind())
    hooks = CodeHooks(find_quantizers(model))
    assert _calls_heard(model, hooks) == 1
    model.quantizer.compile(backend="eager", fullgraph=True)
    for found in (hooks, CodeHooks(find_quantizers(model))):
        _calls_heard(model, found)  # a hook within the graph would raise
    if kind is RandomQuantizer:
        assert _calls_heard(model, hooks) == 1


def test_within_a_larger_graph_it_is_left_alone_from_when_that_is_compiled() -> None:
    model = Model(RandomQuantizer())
    hooks = CodeHooks(find_quantizers(model))
    assert _calls_heard(model, hooks) == 1
    model.compile(backend="eager", fullgraph=True)
    assert _calls_heard(model, hooks) == 0
