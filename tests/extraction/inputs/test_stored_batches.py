"""Calls and batches go into a file that loads with `weights_only=True`, and come back as they were."""

from __future__ import annotations

from collections import OrderedDict, UserDict, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from rankwatch.extraction.inputs.stored_batches import pack, unpack


class Batch(NamedTuple):
    audio: torch.Tensor
    lengths: list[int]


@dataclass(frozen=True)
class Chunks:
    size: int
    left: Any = None
    derived: int = field(init=False, default=3)


class Features(UserDict):  # type: ignore[type-arg]
    """As Hugging Face's BatchFeature."""


AUDIO = torch.arange(6.0).reshape(2, 3)
THINGS = [
    Batch(AUDIO, [3, 2]),
    {"net": {"batch": Batch(AUDIO, [3, 2]), 3: None}},
    (AUDIO, [Chunks(8, (1, 2))], "word", 2.5, True),
    Features({"input_values": AUDIO}),
    OrderedDict(a=AUDIO, b=[Chunks(1)]),
]


def _same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, (dict, UserDict)):
        assert list(one) == list(other)
        for name in one:
            _same(one[name], other[name])
    elif isinstance(one, (list, tuple)):
        for a, b in zip(one, other, strict=True):
            _same(a, b)
    else:
        assert one == other


@pytest.mark.parametrize("thing", THINGS, ids=[type(thing).__name__ for thing in THINGS])
def test_round_trip_through_a_file(thing: Any, tmp_path: Any) -> None:
    torch.save(pack(thing), tmp_path / "file")
    _same(unpack(torch.load(tmp_path / "file", weights_only=True)), thing)


def test_a_class_that_is_gone_is_named_or_leaves_a_dict() -> None:
    packed = pack((Chunks(8),))
    packed[0]["rankwatch.class"][1] = "Gone"
    with pytest.raises(ValueError, match=r"there is no class .*Gone any more"):
        unpack(packed)
    assert unpack(packed, lenient=True) == ({"size": 8, "left": None},)


def test_a_file_can_not_have_anything_else_called_or_imported() -> None:
    for path in (
        ["subprocess", "Popen", "dataclass"],
        ["builtins", "eval", "mapping"],
        ["os", "system", "named_tuple"],
    ):
        with pytest.raises(ValueError, match="any more"):
            unpack({"rankwatch.class": path, "fields": {"args": "true"}})
    with pytest.raises(ValueError, match="there is no class antigravity"):
        unpack({"rankwatch.class": ["antigravity", "X", "dataclass"], "fields": {}})


def test_other_fields_than_before_are_named() -> None:
    packed = pack(Chunks(8))
    packed["fields"]["colour"] = 1
    with pytest.raises(ValueError, match="has other fields than before"):
        unpack(packed)


def test_numbers_of_numpy_go_through_and_what_no_file_may_hold_leaves_none() -> None:
    batch = {"n": np.int64(3), "x": np.arange(3.0), "path": Path("a.wav"), "audio": AUDIO}
    packed = pack(batch)
    made = unpack(packed, lenient=True)
    assert made["n"] == 3
    assert made["x"].tolist() == [0.0, 1.0, 2.0]
    assert made["path"] is None
    with pytest.raises(ValueError, match="Path can't be read back"):
        unpack(packed)


def test_a_defaultdict_comes_back_as_what_it_holds() -> None:
    assert unpack(pack(defaultdict(list, a=[1]))) == {"a": [1]}
