"""Whether something that can't be put back has moved on: a generator, a file, an object of C code."""

from __future__ import annotations

import gc
import io
import pickle
from collections import deque
from operator import length_hint
from typing import Any

from torch import Tensor

from rankwatch.extraction.state.belonging import UNCHANGING
from rankwatch.extraction.state.iterators import is_plain_iterator

_FRAMES = ("gi_frame", "cr_frame", "ag_frame")
_DEPTH = 4
_MOST_BYTES = 1 << 20


def kind_of(value: Any) -> str:
    """What something is, in words."""
    if any(hasattr(value, frame) for frame in _FRAMES):
        return "a generator"
    return "a file" if isinstance(value, io.IOBase) else f"of type {type(value).__qualname__}"


class Fingerprint:
    """Where something that can't be put back is now.

    Args:
        value: A generator, a coroutine, an iterator, a file, or any object of C code.
        thorough: Look at objects of C code too, for which they have to be written down.
    """

    def __init__(self, value: Any, thorough: bool) -> None:
        self._value = value
        self._written_down = _is_of_c_code(value)
        self._thorough = thorough
        # What stands in here is held, so nothing else can come to have its address.
        self._before = self._look()
        self._is_steady = _equal(self._before, self._look())

    def has_changed(self) -> bool:
        """Whether it has moved on since."""
        return self._is_steady and not _equal(self._before, self._look())

    def _look(self) -> list[Any]:
        try:
            if self._written_down:
                return [_written(self._value)] if self._thorough else []
            return _position(self._value, _DEPTH)
        except Exception:
            return []


def _is_of_c_code(value: Any) -> bool:
    moves = any(hasattr(value, frame) for frame in _FRAMES) or is_plain_iterator(value)
    return not moves and not isinstance(value, io.IOBase)


def _position(value: Any, depth: int) -> list[Any]:
    """What shows where an iterator or a file is: values and objects, whose identity counts."""
    if isinstance(value, io.IOBase):
        return [value.closed, None if value.closed else _told(value)]
    for name in _FRAMES:
        if hasattr(value, name):
            frame = getattr(value, name)
            if frame is None:
                return [None]
            # For loops have their iterators on the frame's stack, where only the garbage collector sees them.
            inside = [*gc.get_referents(value), *gc.get_referents(frame)]
            return [frame.f_lasti, *(part for one in inside for part in _part(one, depth))]
    if is_plain_iterator(value):
        reduced = value.__reduce__()
        inside = [part for group in reduced[1:] for part in (group if isinstance(group, tuple) else (group,))]
        return [length_hint(value, -1), *(part for one in inside for part in _part(one, depth))]
    return []


def _part(value: Any, depth: int) -> list[Any]:
    if isinstance(value, Tensor):
        return [value, 0 if value.is_inference() else value._version]
    if isinstance(value, (list, dict, set, deque)):
        return [value, len(value)]
    moves = any(hasattr(value, name) for name in _FRAMES) or is_plain_iterator(value)
    return [value, *(_position(value, depth - 1) if moves and depth else [])]


def _told(file: Any) -> Any:
    try:
        return file.tell()
    except OSError:  # a text file that is iterated
        return file.buffer.tell()


def _equal(before: list[Any], now: list[Any]) -> bool:
    return len(before) == len(now) and all(
        one is other or (type(one) is type(other) and type(one) in UNCHANGING and one == other)
        for one, other in zip(before, now, strict=True)
    )


class _Bounded(io.BytesIO):
    """Takes no more than something small."""

    def write(self, data: Any) -> int:
        if self.tell() > _MOST_BYTES:
            raise OverflowError
        return super().write(data)


def _written(value: Any) -> bytes | str:
    stream = _Bounded()
    try:
        pickle.Pickler(stream, protocol=4).dump(value)
    except Exception:
        return repr(value)
    return stream.getvalue()
