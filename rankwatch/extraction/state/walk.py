"""From a module's attributes to all that they hold: what can be put back, and what can only be watched."""

from __future__ import annotations

import contextvars
import functools
import gc
import io
import itertools
import sys
import threading
import types
from collections.abc import Callable, Collection, Mapping
from multiprocessing.sharedctypes import SynchronizedBase
from typing import Any

import numpy as np
from torch import Tensor, nn

from rankwatch.extraction.state import contents, positions
from rankwatch.extraction.state.belonging import (
    NAMES_OF_LIBRARIES,
    UNCHANGING,
    classes_of_its_own,
    has_attributes_of_its_own,
    is_elsewhere,
)
from rankwatch.extraction.state.fingerprints import Fingerprint
from rankwatch.extraction.state.holders.attributes import Attributes, Closure, Holder, holders_of
from rankwatch.extraction.state.holders.classes import ClassAttributes, members_of
from rankwatch.extraction.state.holders.containers import CONTAINERS, SETS, Container
from rankwatch.extraction.state.holders.globals import unmet_globals
from rankwatch.extraction.state.holders.pending import Pending
from rankwatch.extraction.state.iterators import is_plain_iterator
from rankwatch.extraction.state.known_changes import MANY, MOST_FOLLOWED, KnownChanges
from rankwatch.extraction.state.lending import Loans

_NO_STATE_IN = ("torch", "functools", "contextlib")
"""Homes of functions whose closures belong to the machinery around a model."""


class StateWalk:
    """Follows values through containers, objects, functions and classes, and remembers what it meets.

    Args:
        changes: What is known from passes before.
        keep_modules: Called with each module that is met, and where: one that is hidden in a list, say.

    Attributes:
        restores: Where something was remembered, and what puts it back.
        fingerprints: Of what can't be put back: where it is, the thing itself, and where it was.
        loans: What is lent to the pass.
        sets: Where they are, and what they held: their order may not come back.
        samples: Names for what was taken from very many values, and where these are.
        generators: Random generators.
        seen: Addresses of what was met, all of which is held by something here.
    """

    def __init__(self, changes: KnownChanges, keep_modules: Callable[[str, nn.Module], None]) -> None:
        self._changes = changes
        self._keep_modules = keep_modules
        self.restores: list[tuple[str, contents.Restore]] = []
        self.fingerprints: list[tuple[str, Any, Fingerprint]] = []
        self.loans = Loans()
        self.sets: list[tuple[str, Container]] = []
        self.samples: dict[str, str] = {}
        self.generators: list[Any] = []
        self.seen: set[int] = set()
        self._globals: set[tuple[int, str, bool]] = set()
        self._todo = Pending(MOST_FOLLOWED)

    def follow_all(self) -> None:
        """Go on until there is nothing new, or too much of it: then what lies deepest is left out, and named."""
        while (found := self._todo.take()) is not None:
            self._follow(*found)
        self._changes.were_left_out(*self._todo.left_out())

    def keep(self, where: str, holder: Holder) -> Holder:
        """Remember what something holds, without following that."""
        self.restores.append((where, holder.restore))
        return holder

    def keep_attributes(self, where: str, attributes: Attributes) -> None:
        """Follow each attribute under its own name, by which it can be told to the user."""
        self.keep(where, attributes)
        self._follow_each(where, attributes, attributes.before)

    def _follow_each(self, where: str, holder: Holder, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if type(value) not in UNCHANGING:
                self._todo.add(f"{where}.{name}".lstrip("."), holder, (value,))

    def keep_class(self, kind: type) -> None:
        """Follow what a class holds itself, and those that it was derived from."""
        for one in classes_of_its_own(kind):
            if id(one) not in self.seen:
                self.seen.add(id(one))
                held = ClassAttributes(one)
                self.keep(one.__qualname__, held)
                self._follow_each(one.__qualname__, held, held.functions)
                self._todo.add(one.__qualname__, None, members_of(one))

    def _follow(self, where: str, holder: Holder | None, values: Collection[Any]) -> None:
        if len(values) > MANY and not self._changes.follows_all(where):
            where, values = self._sample(where, values)
        for value in values:
            kind = type(value)
            if kind in UNCHANGING or isinstance(value, np.generic):
                continue
            if not self._todo.affords_one():
                self._changes.were_left_out(where)
                return
            if is_plain_iterator(value):
                if not self.loans.add_iterator(holder, value):
                    self._watch(where, value)
                continue
            if kind is set:
                self.loans.add_set(holder, value)
            if id(value) not in self.seen:
                self.seen.add(id(value))
                try:
                    self._keep_value(where, value)
                except Exception:  # of the user's own classes anything may fail; then it is at least watched
                    self._watch(where, value)

    def _sample(self, where: str, values: Collection[Any]) -> tuple[str, list[Any]]:
        """Of very many values, none of which has changed so far, the first and the last ones."""
        few, name = MANY // 10, f"{where}[...]"
        self.samples[name] = where
        return name, [*itertools.islice(values, few), *list(values)[-few:]]

    def _keep_value(self, where: str, value: Any) -> None:
        if isinstance(value, type):
            self.seen.discard(id(value))
            self.keep_class(value)
        elif isinstance(value, nn.Module):
            self.seen.discard(id(value))
            self._keep_modules(where, value)
        elif isinstance(value, Tensor):
            self.seen.discard(id(value))
            self.keep_tensor(where, value)
        elif isinstance(value, positions.GENERATORS):
            self._keep_generator(value)
        elif isinstance(value, CONTAINERS):
            held = Container(value)
            self._hold(where, held)
            self._keep_object(where, value)
            if isinstance(value, SETS):
                self.sets.append((where, held))
        elif isinstance(value, types.MappingProxyType):
            # The dictionary behind a view; what a class holds is put back by the class.
            self._todo.add(where, None, [shown for shown in gc.get_referents(value) if "__module__" not in shown])
        elif isinstance(value, (tuple, frozenset)):
            self._todo.add(where, None, value)
        elif isinstance(value, np.ndarray):
            self._put_back(where, contents.array_content(value, where, self._changes))
            if value.dtype.hasobject:
                self._todo.add(where, None, value.ravel().tolist())
            self._keep_object(where, value)
        elif isinstance(value, contents.BUFFERS):
            self._put_back(where, contents.buffer_content(value, where, self._changes))
        elif isinstance(value, SynchronizedBase):
            self._put_back(where, contents.buffer_content(value.get_obj(), where, self._changes))
        elif isinstance(value, io.IOBase):
            self._keep_file(where, value)
        else:
            self._keep_other(where, value)

    def _keep_other(self, where: str, value: Any) -> None:
        """Functions and objects; those of C code have nothing to be seen from outside."""
        if isinstance(value, types.FunctionType):
            self._keep_function(where, value)
        elif isinstance(value, types.MethodType):
            self._todo.add(where, None, (value.__self__, value.__func__))
        elif isinstance(value, functools.partial):
            self._todo.add(where, None, (value.func, value.args, value.keywords))
        elif isinstance(value, contextvars.ContextVar):
            self._put_back(where, positions.context_value(value))
        elif isinstance(value, threading.local):
            self.keep_attributes(where, Attributes(value))
        elif not is_elsewhere(type(value)) and not self._keep_object(where, value):
            self._watch(where, value)

    def _keep_object(self, where: str, value: Any) -> bool:
        """Attributes and slots of an object; whether it can have any."""
        holders = holders_of(value)
        for holder in holders or ():
            self._hold(where, holder)
        self.keep_class(type(value))
        return holders is not None

    def _hold(self, where: str, holder: Holder) -> None:
        self._todo.add(where, self.keep(where, holder), holder.values)

    def _keep_function(self, where: str, function: types.FunctionType) -> None:
        if (function.__module__ or "").partition(".")[0] in _NO_STATE_IN:
            return
        if function.__closure__:
            self._hold(where, Closure(function))
        if vars(function):
            self._hold(where, Attributes(function))
        self._todo.add(where, None, (function.__defaults__, function.__kwdefaults__))
        held = unmet_globals(function, self._globals)
        if held is not None:
            self.keep(held.home, held)
            self._follow_each(held.home, held, held.present)

    def _put_back(self, where: str, restore: contents.Restore | None) -> None:
        if restore is not None:
            self.restores.append((where, restore))

    def keep_tensor(self, where: str, tensor: Tensor, always: bool = False) -> None:
        """Remember what is in a tensor.

        Args:
            where: Module and attribute.
            tensor: The tensor.
            always: Copy it, however large it is.
        """
        if id(tensor) not in self.seen:
            self.seen.add(id(tensor))
            self._put_back(where, contents.tensor_content(tensor, where, self._changes, always))
            self.keep_tensor_attributes(where, tensor)

    def keep_tensor_attributes(self, where: str, tensor: Tensor) -> None:
        """Remember what has been put on a tensor, FSDP's and DeepSpeed's aside.

        Args:
            where: Module and attribute that hold it.
            tensor: The tensor, or a parameter.
        """
        if has_attributes_of_its_own(tensor):
            held = Attributes(tensor, NAMES_OF_LIBRARIES)
            self.keep(where, held)
            self._follow_each(where, held, {name: value for name, value in held.before.items() if not callable(value)})

    def _keep_generator(self, generator: Any) -> None:
        restore = positions.generator_state(generator)
        if restore is not None:
            self.generators.append(generator)
            self._put_back("", restore)

    def _keep_file(self, where: str, file: Any) -> None:
        if file is sys.stdout or file is sys.stderr:
            return
        restore = positions.file_position(file)
        self._put_back(where, restore) if restore is not None else self._watch(where, file)

    def _watch(self, where: str, value: Any) -> None:
        self.fingerprints.append((where, value, Fingerprint(value, self._changes.thorough)))
