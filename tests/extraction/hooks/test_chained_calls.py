"""Calls that share no caller are recorded and replayed as one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rankwatch.extraction.hooks.call_recorder import CallRecorder
from rankwatch.extraction.hooks.chained_calls import ChainedCallRecorder, ChainedCalls, ParallelCalls
from rankwatch.extraction.hooks.replayable_calls import front_end_and_blocks
from rankwatch.extraction.inputs.call_arguments import by_name
from rankwatch.extraction.model.layers import find_layers


class Front(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 8, 10, 5)

    def forward(self, audio: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return self.conv(audio[:, None]).transpose(1, 2), None if lengths is None else (lengths - 10) // 5 + 1


class Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True) for _ in range(2)])

    def forward(self, x: Tensor, *, frames: Tensor | None = None, scale: float = 1.0) -> Tensor:
        for layer in self.layers:
            x = layer(scale * x)
        return x


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.front, self.blocks = Front(), Blocks()


def _record(model: Model, call: Any) -> CallRecorder:
    layers = find_layers(model)
    pair = front_end_and_blocks(model, layers)
    assert pair is not None
    recorder = CallRecorder([("", model)], relay=ChainedCallRecorder(*pair))
    recorder.install()
    recorder.arm()
    call(model)
    return recorder


AUDIO, LENGTHS = torch.randn(3, 200, generator=torch.Generator().manual_seed(0)), torch.tensor([200, 150, 90])


def _step(model: Model) -> Tensor:
    x, frames = model.front(AUDIO, lengths=LENGTHS)
    return model.blocks(x, frames=frames, scale=2.0)


def test_both_calls_become_one_that_follows_the_weights() -> None:
    model = Model()
    recorder = _record(model, _step)
    held = recorder.take(None)
    assert held is not None
    path, relay = recorder.backbone  # type: ignore[misc]
    assert path == "front and then of blocks"
    assert isinstance(relay, ChainedCalls)
    assert held.args == ()
    assert set(held.kwargs["front_end"]) == {"audio", "lengths"}
    assert held.kwargs["blocks"] == {"scale": 2.0}  # states and frames come out of the front end
    assert torch.equal(relay(**held.kwargs), _step(model))
    with torch.no_grad():
        model.front.conv.weight.mul_(-3.0)
    assert torch.equal(relay(**held.kwargs), _step(model))
    recorder.remove()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_later_batch_is_recorded_as_well() -> None:
    model = Model()
    recorder = _record(model, _step)
    first = recorder.take(None)
    recorder.arm()
    model.blocks(model.front(AUDIO[:2])[0])
    second = recorder.take(None)
    assert first is not None
    assert second is not None
    assert len(second.keys) == 2


@pytest.mark.parametrize("between", [lambda x: 2 * x, torch.clone, lambda x: x.add_(1)])
def test_what_is_not_given_as_it_is_is_no_relay(between: Any) -> None:
    recorder = _record(Model(), lambda model: model.blocks(between(model.front(AUDIO)[0])))
    assert recorder.take(None) is None
    assert recorder.backbone is None


def test_a_module_that_contains_both_and_fires_is_preferred() -> None:
    class Whole(Model):
        def forward(self, audio: Tensor) -> Tensor:
            return self.blocks(self.front(audio)[0])

    model = Whole()
    recorder = _record(model, lambda model: model(AUDIO))
    assert recorder.take(None) is not None
    assert recorder.backbone == ("", model)
    assert not model.front._forward_hooks


def test_there_is_no_hook_within_a_compiled_module_that_is_called() -> None:
    model = nn.ModuleDict({"inner": Model()})
    pair = front_end_and_blocks(model, find_layers(model))
    assert pair is not None
    recorder = ChainedCallRecorder(*pair, model)
    recorder.install()
    front = model["inner"].front
    assert front._forward_hooks
    model["inner"].compile()
    recorder.place_again()
    assert not front._forward_hooks
    recorder.place_again(uncalled={id(model["inner"])})
    assert front._forward_hooks
    recorder.remove()


def test_calls_that_names_alone_can_not_make_are_not_recorded() -> None:
    class Positional(nn.Module):
        def forward(self, *x: Tensor) -> Tensor:
            return x[0]

    assert by_name(Positional(), (AUDIO,), {}) is None
    assert by_name(Front(), (AUDIO,), {"lengths": LENGTHS}) == {"audio": AUDIO, "lengths": LENGTHS}


def test_several_are_called_each_with_its_own() -> None:
    seen = []
    front, blocks = Front(), Blocks()
    front.register_forward_hook(lambda *_: seen.append("front"))
    blocks.register_forward_hook(lambda *_: seen.append("blocks"))
    both = ParallelCalls({"student": ("a", front), "teacher": ("b", blocks)})
    both(student={"audio": AUDIO}, teacher={"x": torch.randn(2, 5, 8)})
    assert seen == ["front", "blocks"]
