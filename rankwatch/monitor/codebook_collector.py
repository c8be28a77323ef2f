"""Which codes a quantizer uses: collected in the training pass, over the utterances before a reading.

The perplexity of this usage is the effective rank of a distribution over codes: V where all codes are used alike, 1
where only one is used. It shows what the layers can't: wav2vec 2.0's targets may collapse while its context network
looks healthy, and the codes of a frozen BEST-RQ quantizer show silence and repeated data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from rankwatch.arguments.settings import Settings
from rankwatch.extraction.hooks.code_hooks import CodeHooks
from rankwatch.extraction.hooks.code_outputs import CodeAssignments
from rankwatch.extraction.inputs.containers import walk
from rankwatch.extraction.model.compiled_modules import compiled_functions, within_compiled
from rankwatch.extraction.model.quantizers import MOST, Quantizer, find_quantizers
from rankwatch.readings.codebook_usage import CodeUsage
from rankwatch.readings.protocol import CODEBOOK, TRAIN, Protocol
from rankwatch.runtime.diagnostics import Diagnostics
from rankwatch.runtime.distributed import World, quota


class CodebookCollector:
    """Records the codes that the model's quantizers assign in the batches before a reading.

    A quantizer that can't be read is reported once and left out from then on. A module that only holds something like a
    codebook counts from the first reading in which its output was codes; where it is not, it is left out quietly.

    Args:
        settings: The user's arguments; of the training batches the newest `rows.n_utterances` over all processes count.
        world: This process among the others.
        precision: The trainer's precision, for the protocol.
        diagnostics: Reports failures.
    """

    def __init__(self, settings: Settings, world: World, precision: str, diagnostics: Diagnostics) -> None:
        self._settings = settings
        self._wanted = quota(settings.rows.n_utterances, world.rank, world.size)
        self._precision = precision
        self._diagnostics = diagnostics
        self._hooks = CodeHooks([])
        self._root: nn.Module | None = None
        self._recording = False
        self._batches: deque[tuple[int, dict[str, list[CodeAssignments]]]] = deque()
        self._step = -1
        self._in_step = 0  # utterances of the running optimiser step
        self._per_step = 1
        self.conditions: dict[str, Any] = {"input": "masked", "mode": "train"}
        """What the protocol says of how codes are counted; another where nothing is trained."""

    def attach(self, root: nn.Module) -> list[str]:
        """Find the model's quantizers.

        Args:
            root: The model.

        Returns:
            A sentence for the start-up table that names them; none where there are none.
        """
        self._root = root
        if self._settings.watches_codebooks:
            with self._diagnostics.guarded("looking for quantizers"):
                self._hooks = CodeHooks(find_quantizers(root))
        known = [one for one in self._hooks.quantizers if one.table is None]
        called = [one for one in self._hooks.quantizers if one.table is not None and one.table.named]
        named = [f"{one.name} ({one.codes or 'unknown number of'} codes)" for one in known]
        where = "training pass" if self.conditions["mode"] == "train" else "evaluation sets"
        notes = [f"codes are counted in the {where}, in {', '.join(named)}"] if named else []
        names = ", ".join(one.name for one in called[:MOST])
        return notes + ([f"codes are counted in the {where} where these assign some: {names}"] if names else [])

    @property
    def names(self) -> list[str]:
        """Paths of the quantizers."""
        return [one.name for one in self._hooks.quantizers]

    def batch_starts(self, step: int, next_step: int | None) -> None:
        """Before a training batch, after `step` optimiser steps; hooks are there only shortly before a reading."""
        if not self._hooks.quantizers:
            return
        if step != self._step:
            self._step, self._per_step, self._in_step = step, self._in_step or self._per_step, 0
        before = 0 if next_step is None else next_step - step - 1
        self._recording = before * self._per_step < self._wanted
        if self._recording:
            self._follow_compilation()
            self._hooks.listen(self._root)

    def _follow_compilation(self) -> None:
        """Codebooks that have become part of a graph are left alone: what was compiled may report their perplexity."""
        candidates = [one for one in self._hooks.quantizers if one.table is not None]
        if self._root is None or not candidates:
            return
        inside = within_compiled(self._root.modules())
        if any(id(one.module) in inside for one in candidates):
            self._hooks.quantizers = find_quantizers(self._root)

    def batch_ends(self, batch: Any = None, failed: bool = False) -> None:
        """After a training batch, whose utterances count where quantizers are called with frames of all of them.

        Args:
            batch: As the loader gave it.
            failed: An exception was raised in it: what was recorded of it is dropped.
        """
        if not self._recording:
            return
        self._recording = False
        self._hooks.stop()
        assignments, utterances, failures = self._hooks.take()
        if failed:
            return
        for name, error in failures.items():
            self._fail(name, error)
        utterances = utterances or (_utterances(batch) if assignments else 0)
        self._in_step += utterances
        self._batches.extend([(utterances, assignments)] if assignments else [])
        while self._batches and sum(count for count, _ in self._batches) - self._batches[0][0] >= self._wanted:
            self._batches.popleft()

    def _fail(self, name: str, error: Exception) -> None:
        self._hooks.quantizers = [one for one in self._hooks.quantizers if one.name != name]
        self._diagnostics.fail(
            f"quantizer {name}",
            f"the codes of quantizer {name} can't be counted and are left out from now on: {error}",
            error,
        )

    def take(self) -> dict[str, CodeUsage]:
        """Count what was recorded, and begin anew for the next reading.

        Returns:
            The usage of each quantizer, by its path.
        """
        batches, self._batches = self._batches, deque()
        calls = {
            one.name: [call for _, recorded in batches for call in recorded.get(one.name, ())]
            for one in self._hooks.quantizers
        }
        self._hooks.quantizers = confirmed(self._hooks.quantizers, calls)
        self._name_silent(calls)
        usages = {}
        for one in list(self._hooks.quantizers):
            try:
                if calls[one.name]:
                    usages[one.name] = CodeUsage.of(calls[one.name], one.codes)
            except Exception as error:
                self._fail(one.name, error)
        return usages

    def _name_silent(self, calls: Mapping[str, Sequence[CodeAssignments]]) -> None:
        """Quantizers whose codes can't be told apart, or that a compiled function may call where nothing is seen."""
        unknown = {name: why for name, why in self._hooks.unknown_layouts.items() if not calls.get(name)}
        for name, why in unknown.items():
            self._diagnostics.warn_once(
                f"layout of quantizer {name}",
                f"the codes of quantizer {name} are not counted: {why}, so that which axis is which can't be known; it "
                "is known from the first batch of another size on, or where it returns (B, T, groups)",
            )
        silent = [one.name for one in self._hooks.quantizers if one.table is None and not calls[one.name]]
        silent = [name for name in silent if name not in unknown]
        functions = compiled_functions(self._root.modules()) if silent and self._root is not None else {}
        for name in silent if functions else []:
            self._diagnostics.warn_once(
                f"silent quantizer {name}",
                f"the codes of quantizer {name} are not counted, since it isn't called as a module where it can be "
                f"seen; it may lie within what torch.compile has made of {', '.join(functions)}, where no hook fires: "
                "compile the modules around it instead, each in place (module.compile())",
            )

    @property
    def protocol(self) -> Protocol:
        """The conditions; the number of codes is filled in by `read_usage`."""
        return Protocol(
            source=TRAIN,
            level=CODEBOOK,
            utterances=self._settings.rows.n_utterances,
            frames_per_utterance=0,
            d=0,
            k=None,
            centred=False,
            **self.conditions,
            precision=self._precision,
            seed=self._settings.rows.seed,
        )

    def close(self) -> None:
        """Remove every hook."""
        self._hooks.stop()
        self._batches.clear()


def confirmed(quantizers: Sequence[Quantizer], calls: Mapping[str, Sequence[CodeAssignments]]) -> list[Quantizer]:
    """Those that have shown that they assign codes, and candidates that haven't been called.

    Args:
        quantizers: What is watched.
        calls: What was seen of each, by its name.

    Returns:
        The quantizers; of a candidate that holds another one, which assigns the same codes, only the inner one, and at
        most `MOST` in all beside those that wait.
    """
    found, waiting = [], []
    for one in quantizers:
        seen = calls[one.name]
        if one.table is None or one.confirmed:
            found.append(one)
        elif not seen:
            waiting.append(one)
        elif all(call.valid is None or bool(call.valid) for call in seen):
            codes = max(call.size for call in seen) or one.codes
            found.append(
                replace(one, codes=codes, confirmed=True, table=replace(one.table, sizes=one.table.sizes and (codes,)))
            )
    inner = [one for one in found if not any(_holds(one.module, o.module) for o in found if o is not one)]
    return inner[:MOST] + waiting


def _holds(outer: nn.Module, inner: nn.Module) -> bool:
    return any(module is inner for module in outer.modules())


def _utterances(batch: Any) -> int:
    """The length of the first tensor with an axis for utterances and another one."""
    return next((len(leaf) for _, leaf in walk(batch) if isinstance(leaf, Tensor) and leaf.ndim >= 2), 1)
