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


class GroupedQuantizer(nn.Module):
    """Three groups on one axis; the codes of group g are g + 1 times those of the first."""

    codebook_size = 12

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.register_buffer("codebook", torch.randn(12, 16))
        self.axis = axis

    def codes(self, x: Tensor) -> Tensor:
        """(B, T, 3)."""
        first = torch.cdist(x, self.codebook.expand(len(x), 12, 16)).argmin(-1)
        return torch.stack([(g + 1) * first % 12 for g in range(3)], dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        return self.codes(x).movedim(2, self.axis)


def _heard(hooks: CodeHooks, model: nn.Module, x: Tensor) -> Tensor | None:
    hooks.listen(model)
    model(x)
    hooks.stop()
    draws, _, failures = hooks.take()
    assert not failures
    codes = [draw.codes for found in draws.values() for draw in found if draw.codes is not None]
    return torch.cat(codes) if codes else None


@pytest.mark.parametrize("axis", [0, 1])
def test_as_many_groups_as_utterances_are_counted_once_a_batch_of_another_size_has_shown_their_axis(axis: int) -> None:
    """(groups, B, T) and (B, groups, T) have one shape then."""
    model = nn.Sequential(GroupedQuantizer(axis))
    hooks = CodeHooks(find_quantizers(model))
    assert [one.name for one in hooks.quantizers] == ["0"]
    even, other = torch.randn(3, 20, 16), torch.randn(2, 20, 16)
    assert _heard(hooks, model, even) is None
    assert hooks.unknown_layouts == {"0": "its codes are of 3 groups in batches of 3 utterances"}
    for x in (other, even):
        heard = _heard(hooks, model, x)
        assert heard is not None
        assert torch.equal(heard.long(), model[0].codes(x).reshape(-1, 3))


def test_groups_in_the_last_axis_are_never_mistaken() -> None:
    model = nn.Sequential(GroupedQuantizer(2))
    x = torch.randn(3, 20, 16)
    heard = _heard(CodeHooks(find_quantizers(model)), model, x)
    assert heard is not None
    assert torch.equal(heard.long(), model[0].codes(x).reshape(-1, 3))
