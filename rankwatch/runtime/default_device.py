"""Tensors of our own are made on the CPU, whatever `torch.set_default_device` says."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import torch


def _default_device() -> torch.device:
    """Without an operation, where torch has a word for it: that came with 2.3 and, up to 2.5, raises after a None."""
    get = getattr(torch, "get_default_device", None)
    if get is not None:
        with contextlib.suppress(AttributeError):
            return torch.device(get())
    return torch.empty(0).device


class DefaultDevice:
    """Sets `torch.set_default_device` aside while tensors of our own are made, which belong on the CPU.

    A mode over all of torch's functions costs a little at each call, so there is none where the CPU is the default.
    """

    def __init__(self) -> None:
        self._users: torch.device | None = None

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """The CPU is the default."""
        users = _default_device()
        if users.type == "cpu":
            yield
            return
        before, self._users = self._users, users
        try:
            with torch.device("cpu"):
                yield
        finally:
            self._users = before

    @contextlib.contextmanager
    def back(self) -> Iterator[None]:
        """The user's own is the default again, for a forward pass of the user's model."""
        with torch.device(self._users) if self._users is not None else contextlib.nullcontext():
            yield


class _HasDefaultDevice(Protocol):
    default_device: DefaultDevice


_Self = TypeVar("_Self", bound=_HasDefaultDevice)


_Arguments = ParamSpec("_Arguments")


_Result = TypeVar("_Result")


def on_the_cpu(
    method: Callable[Concatenate[_Self, _Arguments], _Result],
) -> Callable[Concatenate[_Self, _Arguments], _Result]:
    """A method whose own tensors are made on the CPU, whatever the user's default device is."""

    @functools.wraps(method)
    def there(self: _Self, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with self.default_device.aside():
            return method(self, *args, **kwargs)

    return there  # type: ignore[return-value]
