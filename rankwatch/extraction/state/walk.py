"""From a module's attributes to all that they hold: what can be put back, and what can only be watched."""

from __future__ import annotations

import contextvars
import functools
import io
import sys
import threading
import types
from collections.abc import Callable, Collection
from multiprocessing.sharedctypes import SynchronizedBase
from typing import Any

import numpy as np
from torch import Tensor, nn

from rankwatch.extraction.state import contents, positions
from rankwatch.extraction.state.belonging import UNCHANGING, classes_of_its_own, is_elsewhere, works_in_threads
from rankwatch.extraction.state.fingerprints import Fingerprint
from rankwatch.extraction.state.holders import (
    CONTAINERS,
    Attributes,
    ClassAttributes,
    Closure,
    Container,
    Holder,
    Slots,
    slots_of,
)
from rankwatch.extraction.state.iterators import copied_iterator, is_plain_iterator
from rankwatch.extraction.state.known_changes import KnownChanges

_NO_STATE_IN = ("torch", "functools", "contextlib")
"""Homes of functions whose closures belong to the machinery around a model."""


class StateWalk:
    """Follows values through containers, objects, functions and classes, and remembers what it meets.

    Args:
        changes: What is known from passes before.
        keep_modules: Called with each module that is met, and where: one that is hidden in a list, say.

    Attributes:
        restores: Put back what was remembered.
        fingerprints: Of what can't be put back: where it is, the thing itself, and where it was.
        lent: Iterators, what holds them, and their copies for the pass.
        generators: Random generators.
        seen: Addresses of what was met, all of which is held by something here.
    """

    def __init__(self, changes: KnownChanges, keep_modules: Callable[[str, nn.Module], None]) -> None:
        self._changes = changes
        self._keep_modules = keep_modules
        self.restores: list[Callable[[], None]] = []
        self.fingerprints: list[tuple[str, Any, Fingerprint]] = []
        self.lent: list[tuple[Holder, Any, Any]] = []
        self.generators: list[Any] = []
        self.seen: set[int] = set()
        self._iterators: dict[int, Any] = {}
        self._todo: list[tuple[str, Holder | None, Collection[Any]]] = []

    def follow_all(self) -> None:
        """Go on until there is nothing new."""
        while self._todo:
            self._follow(*self._todo.pop())

    def keep(self, holder: Holder) -> Holder:
        """Remember what something holds, without following that."""
        self.restores.append(holder.restore)
        return holder

    def keep_attributes(self, where: str, attributes: Attributes) -> None:
        """Follow each attribute under its own name, by which it can be told to the user."""
        self.keep(attributes)
        for name, value in attributes.before.items():
            if type(value) not in UNCHANGING:
                self._todo.append((f"{where}.{name}".lstrip("."), attributes, (value,)))

    def keep_classes(self, kind: type) -> None:
        """Follow what an object's class holds itself, and those that it was derived from."""
        for one in classes_of_its_own(kind):
            if id(one) not in self.seen:
                self.seen.add(id(one))
                held = ClassAttributes(one)
                self.keep(held)
                self._todo += [
                    (f"{one.__qualname__}.{name}", held, (getattr(value, "__func__", value),))
                    for name, value in held.before.items()
                    if type(value) not in UNCHANGING
                ]

    def _follow(self, where: str, holder: Holder | None, values: Collection[Any]) -> None:
        if UNCHANGING.issuperset(map(type, values)):
            return
        for value in values:
            kind = type(value)
            if kind in UNCHANGING or isinstance(value, (np.generic, type)):
                continue
            if is_plain_iterator(value):
                self._keep_iterator(where, holder, value)
            elif id(value) not in self.seen:
                self.seen.add(id(value))
                try:
                    self._keep_value(where, value)
                except Exception:  # of the user's own classes anything may fail; then it is at least watched
                    self._watch(where, value)

    def _keep_value(self, where: str, value: Any) -> None:
        if isinstance(value, nn.Module):
            self.seen.discard(id(value))
            self._keep_modules(where, value)
        elif isinstance(value, Tensor):
            self.seen.discard(id(value))
            self.keep_tensor(where, value)
        elif isinstance(value, positions.GENERATORS):
            self._keep_generator(value)
        elif isinstance(value, CONTAINERS):
            self._hold(where, Container(value))
            self._keep_object(where, value)
        elif isinstance(value, (tuple, frozenset)):
            self._todo.append((where, None, value))
        elif isinstance(value, np.ndarray):
            self._put_back(contents.array_content(value, where, self._changes))
            if value.dtype.hasobject:
                self._todo.append((where, None, value.ravel().tolist()))
            self._keep_object(where, value)
        elif isinstance(value, contents.BUFFERS):
            self._put_back(contents.buffer_content(value))
        elif isinstance(value, SynchronizedBase):
            self._put_back(contents.buffer_content(value.get_obj()))
        elif isinstance(value, io.IOBase):
            self._keep_file(where, value)
        else:
            self._keep_other(where, value)

    def _keep_other(self, where: str, value: Any) -> None:
        """Functions and objects; those of C code have nothing to be seen from outside."""
        if isinstance(value, types.FunctionType):
            self._keep_function(where, value)
        elif isinstance(value, types.MethodType):
            self._todo.append((where, None, (value.__self__, value.__func__)))
        elif isinstance(value, functools.partial):
            self._todo.append((where, None, (value.func, value.args, value.keywords)))
        elif isinstance(value, contextvars.ContextVar):
            self._put_back(positions.context_value(value))
        elif isinstance(value, threading.local):
            self.keep_attributes(where, Attributes(value))
        elif not is_elsewhere(type(value)) and not self._keep_object(where, value):
            self._watch(where, value)

    def _keep_object(self, where: str, value: Any) -> bool:
        """Attributes and slots of an object.

        Returns:
            Whether it can have any.
        """
        attributes, members = _attributes(value), slots_of(type(value))
        if isinstance(attributes, dict) and not works_in_threads(attributes):
            self._hold(where, Attributes(value))
        if members:
            self._hold(where, Slots(value, members))
        self.keep_classes(type(value))
        return isinstance(attributes, dict) or bool(members) or type(value) is object

    def _hold(self, where: str, holder: Holder) -> None:
        self._todo.append((where, self.keep(holder), holder.values))

    def _keep_function(self, where: str, function: types.FunctionType) -> None:
        if (function.__module__ or "").partition(".")[0] in _NO_STATE_IN:
            return
        if function.__closure__:
            self._hold(where, Closure(function))
        if vars(function):
            self._hold(where, Attributes(function))
        if function.__defaults__ or function.__kwdefaults__:
            self._todo.append((where, None, (function.__defaults__, function.__kwdefaults__)))

    # -- what is inside --------------------------------------------------------------------------------------

    def _put_back(self, restore: Callable[[], None] | None) -> None:
        if restore is not None:
            self.restores.append(restore)

    def keep_tensor(self, where: str, tensor: Tensor, always: bool = False) -> None:
        """Remember what is in a tensor.

        Args:
            where: Module and attribute.
            tensor: The tensor.
            always: Copy it, however large it is.
        """
        if id(tensor) not in self.seen:
            self.seen.add(id(tensor))
            self._put_back(contents.tensor_content(tensor, where, self._changes, always))

    def _keep_generator(self, generator: Any) -> None:
        restore = positions.generator_state(generator)
        if restore is not None:
            self.generators.append(generator)
            self.restores.append(restore)

    def _keep_iterator(self, where: str, holder: Holder | None, iterator: Any) -> None:
        if id(iterator) not in self._iterators:
            self._iterators[id(iterator)] = copied_iterator(iterator)
        copy = self._iterators[id(iterator)]
        if holder is not None and copy is not None:
            self.lent.append((holder, iterator, copy))
        else:
            self._watch(where, iterator)

    def _keep_file(self, where: str, file: Any) -> None:
        if file in (sys.stdout, sys.stderr):
            return
        restore = positions.file_position(file)
        if restore is None:
            self._watch(where, file)
        self._put_back(restore)

    def _watch(self, where: str, value: Any) -> None:
        self.fingerprints.append((where, value, Fingerprint(value, self._changes.thorough)))


def _attributes(value: Any) -> Any:
    try:
        return object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
