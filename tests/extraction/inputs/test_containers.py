"""Nested containers are walked through and made anew, whatever they are made of."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from rankwatch.extraction.inputs.containers import map_tensors, walk


class Pair(NamedTuple):
    audio: Tensor
    lengths: Any


@dataclass
class Batch:
    audio: Tensor
    inner: Any = None


@dataclass(frozen=True)
class Frozen:
    audio: Tensor
    inner: Any = None


class Features(UserDict):  # type: ignore[type-arg]
    """As Hugging Face's BatchFeature."""


AUDIO = torch.ones(2, 3)
THINGS = [
    Pair(AUDIO, [3, 2]),
    Batch(AUDIO, {"x": (1, AUDIO)}),
    Frozen(AUDIO, Frozen(AUDIO)),
    Features(audio=AUDIO),
    OrderedDict(b=AUDIO, a=[AUDIO]),
    SimpleNamespace(audio=AUDIO, name="clip"),
    (AUDIO, [AUDIO, {"deep": Pair(AUDIO, None)}]),
]


@pytest.mark.parametrize("thing", THINGS, ids=[type(thing).__name__ for thing in THINGS])
def test_every_tensor_is_replaced_and_everything_else_is_kept(thing: Any) -> None:
    made = map_tensors(thing, lambda x: x + 1)
    assert type(made) is type(thing)
    before, after = list(walk(thing)), list(walk(made))
    assert [path for path, _ in before] == [path for path, _ in after]
    for (_, old), (_, new) in zip(before, after, strict=True):
        if isinstance(old, Tensor):
            assert torch.equal(new, old + 1)
            assert torch.equal(old, torch.ones_like(old))
        else:
            assert new == old


def test_what_holds_no_tensor_is_itself() -> None:
    config = SimpleNamespace(size=3)
    made = map_tensors({"x": AUDIO, "config": config}, torch.clone)
    assert made["config"] is config


def test_the_dataset_behind_a_batch_is_left_alone() -> None:
    dataset = SimpleNamespace(tensors=[AUDIO] * 3)
    batch = SimpleNamespace(audio=AUDIO, dataset=dataset)
    made = map_tensors(batch, torch.clone)
    assert made.audio is not AUDIO
    assert made.dataset is dataset


def test_what_contains_itself_comes_to_an_end() -> None:
    batch: list[Any] = [AUDIO]
    batch.append(batch)
    made = map_tensors(batch, lambda x: x + 1)
    assert torch.equal(made[0], AUDIO + 1)


def test_hugging_faces_outputs() -> None:
    outputs = pytest.importorskip("transformers.modeling_outputs")
    made = map_tensors(outputs.BaseModelOutput(last_hidden_state=AUDIO), lambda x: x + 1)
    assert torch.equal(made["last_hidden_state"], AUDIO + 1)


def test_packed_sequences() -> None:
    packed = torch.nn.utils.rnn.pack_sequence([torch.ones(3), torch.ones(2)])
    assert map_tensors(packed, lambda x: x + 1).data.tolist() == [2.0] * 5
