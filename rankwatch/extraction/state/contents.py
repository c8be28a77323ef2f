"""What is inside of tensors, arrays and buffers of bytes: remembered, and put back."""

from __future__ import annotations

import array
import ctypes
import mmap
from collections.abc import Callable
from operator import is_
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from rankwatch.extraction.state.known_changes import LARGE, KnownChanges

Restore = Callable[[], bool | None]
"""Puts something back; whether it had changed, as far as that is known."""

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
    counted = max(size, LARGE + 1) if isinstance(tensor, nn.Parameter) else size
    if not always and not changes.wants_copy(where, counted):
        return _watched_tensor(tensor, where, changes)
    content = tensor.detach().to("cpu", copy=True) if counted > LARGE and not always else tensor.detach().clone()

    def restore() -> bool:
        if not _has_memory(tensor):
            return False
        other_shape = tensor.shape != content.shape
        if other_shape:
            tensor.resize_(content.shape)
        if _same(tensor.detach().to(content.device), content):
            return other_shape
        tensor.detach().copy_(content)
        return True

    return restore


def _watched_tensor(tensor: Tensor, where: str, changes: KnownChanges) -> Restore:
    version, place = tensor._version, tensor.data_ptr()

    def restore() -> bool:
        if tensor._version == version and tensor.data_ptr() == place:
            return False
        changes.was_lost(where, "a large tensor, or one of very many, which is copied before each pass from now on")
        return True

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
    return (one.is_floating_point() or one.is_complex()) and bool(
        ((one == other) | (one.isnan() & other.isnan())).all()
    )


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
    large = values.nbytes > LARGE
    if (large and isinstance(values.base, mmap.mmap)) or not changes.wants_copy(where, values.nbytes):
        before = values.shape, _sample(values)

        def watch() -> bool:
            if (values.shape, _sample(values)) == before:
                return False
            changes.was_lost(where, "a large array, or one of very many, which is copied before each pass from now on")
            return True

        return watch
    content = values.view(np.ndarray).copy()

    def restore() -> bool:
        other_shape = bool(values.shape != content.shape)
        if other_shape:
            values.resize(content.shape, refcheck=False)
        plain = values.view(np.ndarray)  # what a masked array or a matrix does on assignment is more than that
        if _same_bytes(plain, content):
            return other_shape
        plain[...] = content
        return True

    return restore


def _same_bytes(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    if one.dtype.hasobject:  # objects are the same only if they are one: what they make of == is theirs
        return one.dtype == object and all(map(is_, one.flat, other.flat))
    one, other = (np.ascontiguousarray(values).reshape(-1).view(np.uint8) for values in (one, other))
    return np.array_equal(one, other)


def _sample(values: np.ndarray[Any, Any]) -> bytes:
    sample: np.ndarray[Any, Any] = values.view(np.ndarray).flat[:: max(1, values.size // _SAMPLES)]
    return sample.tobytes()


def buffer_content(buffer: Any, where: str, changes: KnownChanges) -> Restore | None:
    """Remember the bytes of a bytearray, an array, a value of ctypes or a view.

    Args:
        buffer: One of `BUFFERS`.
        where: Module and attribute that hold it.
        changes: What is known from passes before.

    Returns:
        What puts them back; None for a view that can't be written into, and for values that own Python objects.
    """
    growing = isinstance(buffer, (bytearray, array.array))
    if not growing and not (_is_writable(buffer) if isinstance(buffer, (memoryview, mmap.mmap)) else _is_whole(buffer)):
        return None
    if not changes.wants_copy(where, memoryview(buffer).nbytes):
        return _watched_buffer(buffer, where, changes)
    return _growing(buffer) if growing else _bytes_at(buffer)


def _is_writable(buffer: Any) -> bool:
    with memoryview(buffer) as view:
        return not view.readonly and view.c_contiguous and view.format in "bBhHiIlLqQfdnN?c"


def _is_whole(value: Any) -> bool:
    """Whether a value of ctypes is the memory that it shows, and doesn't point to some."""
    owned = value._objects  # what it points to, by place; in multiprocessing the memory that it is in itself
    in_memory = (
        owned is None or isinstance(owned, memoryview) or (isinstance(owned, dict) and set(owned) == {"ffffffff"})
    )
    return in_memory and not isinstance(value, ctypes.py_object)


def _growing(buffer: Any) -> Restore:
    content: Any = buffer[:]

    def restore() -> bool:
        if buffer == content:
            return False
        buffer[:] = content
        return True

    return restore


def _bytes_at(buffer: Any) -> Restore:
    """What can't change its size."""
    content = memoryview(buffer).cast("B").tobytes()

    def restore() -> bool:
        with memoryview(buffer) as whole, whole.cast("B") as view:
            if view == content:
                return False
            view[:] = content
            return True

    return restore


def _watched_buffer(buffer: Any, where: str, changes: KnownChanges) -> Restore:
    def sample() -> bytes:
        with memoryview(buffer) as whole, whole.cast("B") as view:
            return bytes(view[:: max(1, len(view) // _SAMPLES)])

    before = sample()

    def restore() -> bool:
        if sample() == before:
            return False
        changes.was_lost(where, "a large buffer, which is copied before each pass from now on")
        return True

    return restore
