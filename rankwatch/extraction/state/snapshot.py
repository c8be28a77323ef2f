"""What a model has besides its parameters, remembered and put back, whatever holds it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rankwatch.extraction.model.module_paths import clean_name
from rankwatch.extraction.state.belonging import is_only_a_wrapper, names_of_shards
from rankwatch.extraction.state.fingerprints import kind_of
from rankwatch.extraction.state.holders.attributes import Attributes
from rankwatch.extraction.state.holders.containers import Tables
from rankwatch.extraction.state.known_changes import KnownChanges
from rankwatch.extraction.state.walk import StateWalk

_OF_EVERY_MODULE = frozenset({*vars(nn.Module()), "_compiled_call_impl"})


class ModelSnapshot:
    """The modes, buffers, attributes and random generators of a model's modules, as they are now.

    Attributes are followed through containers, objects, closures and classes, however deep and large. Of wrappers
    (DDP, FSDP, compiled modules) only mode and buffers are remembered: they have state of their own. What FSDP
    exchanges is left to it. Iterators are exchanged for copies by `lend_iterators`; of what can't be put back a
    fingerprint is taken.

    Args:
        root: The whole model.
        changes: What is known from passes before.
    """

    def __init__(self, root: nn.Module, changes: KnownChanges | None = None) -> None:
        self._changes = changes or KnownChanges()
        self._modes: list[tuple[nn.Module, bool]] = []
        self._frozen: list[tuple[nn.Parameter, bool]] = []
        self._walk = StateWalk(self._changes, lambda where, module: self._keep_modules(where, module, hidden=True))
        self._shards = names_of_shards(root)
        self._walk.seen.update(id(parameter) for parameter in root.parameters())  # seen to by `unchanged_parameters`
        self._keep_modules("", root, hidden=False)
        self._walk.follow_all()

    @property
    def generators(self) -> list[Any]:
        """The model's own random generators."""
        return self._walk.generators

    def lend_iterators(self) -> None:
        """Put copies in the places of iterators and sets, until `restore`."""
        self._walk.loans.lend()

    def restore(self) -> None:
        """Put everything back; under `torch.no_grad`.

        Modes come first and can't fail; of all else that fails the first is raised when everything has been tried.
        """
        for module, training in self._modes:
            if module.training is not training:
                module.training = training
        for where, value, fingerprint in self._walk.fingerprints:
            if fingerprint.has_changed():
                self._changes.was_lost(where, kind_of(value))
        trouble: Exception | None = None
        for where, restore in self._walk.restores:
            try:
                if restore():
                    self._note_change(where)
            except Exception as error:
                trouble = trouble or error
        for where, values in self._walk.sets:
            if not values.is_in_order():
                self._changes.was_lost(where, "the order of a set")
        for parameter, requires_grad in self._frozen:
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)
        if trouble is not None:
            raise trouble

    def _note_change(self, where: str) -> None:
        self._changes.has_changed(where)
        if where in self._walk.samples:
            self._changes.has_changed(self._walk.samples[where])
            self._changes.was_lost(self._walk.samples[where], "some of very many values, all are put back from now on")

    # -- modules ---------------------------------------------------------------------------------------------

    def _keep_modules(self, where: str, root: nn.Module, hidden: bool) -> None:
        """All modules below one; `hidden` from the model in a list, say, parameters of theirs count as state."""
        modules = [(path, module) for path, module in root.named_modules() if id(module) not in self._walk.seen]
        self._walk.seen.update(id(module) for _, module in modules)
        self._modes += [(module, module.training) for _, module in modules]
        for path, module in modules:
            name = ".".join(part for part in (where, clean_name(path)) if part)
            parameters = module._parameters.values() if not isinstance(module, torch.jit.ScriptModule) else ()
            self._frozen += [(one, one.requires_grad) for one in parameters if one is not None and one.is_leaf]
            for parameter in parameters:
                if parameter is not None and hidden:
                    self._walk.keep_tensor(f"{name}.parameters()", parameter)
                elif parameter is not None:
                    self._walk.keep_tensor_attributes(f"{name}.parameters()", parameter)
            self._keep_module(name, module)

    def _keep_module(self, where: str, module: nn.Module) -> None:
        scripted = isinstance(module, torch.jit.ScriptModule)
        for name, buffer in module.named_buffers(recurse=False) if scripted else module._buffers.items():
            if buffer is not None:
                self._walk.keep_tensor(f"{where}.{name}", buffer, always=True)
        if scripted:
            return
        sharded = self._shards.get(module)
        if is_only_a_wrapper(type(module)):
            self._walk.restores.append((where, Tables(module, ("_buffers",)).restore))
            return
        tables = (
            "_buffers",
            "_modules",
            "_non_persistent_buffers_set",
            *(() if sharded is not None else ("_parameters",)),
        )
        self._walk.restores.append((where, Tables(module, tables).restore))
        passed_over = _OF_EVERY_MODULE if sharded is None else _OF_EVERY_MODULE | sharded
        self._walk.keep_attributes(where, Attributes(module, passed_over))
        self._walk.keep_class(type(module))
