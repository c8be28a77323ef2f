"""What is inside of tensors, arrays and buffers of bytes: remembered, and put back."""

from __future__ import annotations

import array
import ctypes
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from rankwatch.extraction.state.known_changes import LARGE, KnownChanges

Restore = Callable[[], None]

BUFFERS = (
    bytearray,
    array.array,
    memoryview,
    mmap.mmap,
    ctypes._SimpleCData,
    ctypes.Array,
    ctypes.Structure,
    ctypes.Union,
)
_SAMPLES = 4096


def tensor_content(tensor: Tensor, where: str, changes: KnownChanges, always: bool = False) -> Restore | None:
    """Remember what is in a tensor.

    Args:
        tensor: The tensor; nothing is written into it if it is as it was, so that autograd has no reason to complain.
        where: Module and attribute that hold it.
        changes: What is known from passes before.
        always: Copy it however large it is, where it is (a buffer).

    Returns:
        What puts it back; None for what can't be compared and copied, of which only the reference is remembered.
    """
    if not _is_ordinary(tensor) or isinstance(tensor._base, nn.Parameter):  # FSDP leaves views of parameters behind
        return None
    size = tensor.numel() * tensor.element_size()
    # A parameter is no state of a forward pass; one that is written into nevertheless shows by its version.
    large = not always and (size > LARGE or isinstance(tensor, nn.Parameter))
    if large and not changes.wants_copy(where, max(size, LARGE + 1)):
        return _watched_tensor(tensor, where, changes)
    content = tensor.detach().to("cpu", copy=True) if large else tensor.detach().clone()

    def restore() -> None:
        if not _has_memory(tensor):
            return
        if tensor.shape != content.shape:
            tensor.resize_(content.shape)
        if not _same(tensor.detach().to(content.device), content):
            tensor.detach().copy_(content)
            if large:
                changes.has_changed(where)

    return restore


def _watched_tensor(tensor: Tensor, where: str, changes: KnownChanges) -> Restore:
    version, place = tensor._version, tensor.data_ptr()

    def restore() -> None:
        if tensor._version != version or tensor.data_ptr() != place:
            changes.has_changed(where)
            changes.was_lost(where, "a large tensor, which is copied before each pass from now on")

    return restore


def _is_ordinary(tensor: Tensor) -> bool:
    if is_lazy(tensor):  # has neither shape nor content yet
        return False
    odd = tensor.is_meta or tensor.is_nested or tensor.is_inference() or tensor.is_quantized
    return not odd and tensor.layout == torch.strided and _has_memory(tensor)


def _has_memory(tensor: Tensor) -> bool:
    """FSDP leaves attributes behind whose memory it takes away between calls; to read them is a crash, no exception."""
    if tensor.numel() == 0 or type(tensor) not in (Tensor, nn.Parameter):  # a subclass (DTensor) sees to that itself
        return True
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    last = tensor.storage_offset() + sum((size - 1) * stride for size, stride in steps)
    return tensor.untyped_storage().nbytes() >= (last + 1) * tensor.element_size()


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal, where NaN is NaN."""
    if torch.equal(one, other):
        return True
    return one.is_floating_point() and bool(((one == other) | (one.isnan() & other.isnan())).all())


def array_content(values: np.ndarray[Any, Any], where: str, changes: KnownChanges) -> Restore | None:
    """Remember what is in an array of numpy's.

    Args:
        values: The array.
        where: Module and attribute that hold it.
        changes: What is known from passes before.

    Returns:
        What puts it back; None for an array that can't be written into.
    """
    if not values.flags.writeable:
        return None
    values = values.view(np.ndarray)  # what a masked array or a matrix does on assignment is more than that
    large = values.nbytes > LARGE
    if (large and isinstance(values.base, mmap.mmap)) or not changes.wants_copy(where, values.nbytes):
        before = _sample(values)

        def watch() -> None:
            if _sample(values) != before:
                changes.has_changed(where)
                changes.was_lost(where, "a large array, which is copied before each pass from now on")

        return watch
    content = values.copy()

    def restore() -> None:
        if large and not _same_bytes(values, content):
            changes.has_changed(where)
        values[...] = content

    return restore


def _same_bytes(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    if one.dtype.hasobject:
        return bool((one == other).all())
    one, other = (np.ascontiguousarray(values).reshape(-1).view(np.uint8) for values in (one, other))
    return np.array_equal(one, other)


def _sample(values: np.ndarray[Any, Any]) -> bytes:
    sample: np.ndarray[Any, Any] = values.flat[:: max(1, values.size // _SAMPLES)]
    return sample.tobytes()


def buffer_content(buffer: Any) -> Restore | None:
    """Remember the bytes of a bytearray, an array, a value of ctypes or a view.

    Args:
        buffer: One of `BUFFERS`.

    Returns:
        What puts them back; None for a view that can't be written into, and for values that own Python objects.
    """
    if isinstance(buffer, (bytearray, array.array)):
        content: Any = buffer[:]

        def restore() -> None:
            if buffer != content:
                buffer[:] = content

        return restore
    if isinstance(buffer, (memoryview, mmap.mmap)):
        view = memoryview(buffer)
        if view.readonly or not view.c_contiguous or view.format == "O":
            return None
        return _bytes_at(view.cast("B") if view.format in "bBhHiIlLqQfdnN?c" and view.ndim else None)
    owned = buffer._objects  # what it points to, by place; in multiprocessing the memory that it is in itself
    in_memory = (
        owned is None or isinstance(owned, memoryview) or (isinstance(owned, dict) and set(owned) == {"ffffffff"})
    )
    if isinstance(buffer, ctypes.py_object) or not in_memory:
        return None
    data = ctypes.string_at(ctypes.addressof(buffer), ctypes.sizeof(buffer))

    def rewrite() -> None:
        ctypes.memmove(ctypes.addressof(buffer), data, len(data))

    return rewrite


def _bytes_at(view: memoryview | None) -> Restore | None:
    if view is None:
        return None
    content = bytes(view)

    def restore() -> None:
        if bytes(view) != content:
            view[:] = content

    return restore
