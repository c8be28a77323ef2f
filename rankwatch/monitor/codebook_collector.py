"""How many of its codes a quantizer uses: counted in the training pass, over the utterances before a reading.

The perplexity of the codes' usage is the effective rank of that distribution: V where all codes are used alike, 1 where
there is only one. It tells another story than the layers do: wav2vec 2.0's targets may collapse while its context
network looks well, and a BEST-RQ quantizer, which is frozen, tells of silence and repeated data.
"""

from __future__ import annotations

from collections import deque

from torch import nn

from rankwatch.extraction.hooks.code_hooks import CodeAssignments, CodeHooks
from rankwatch.extraction.model.quantizers import find_quantizers
from rankwatch.monitor.settings import Settings
from rankwatch.readings.codebook_usage import TRAIN, CodeUsage
from rankwatch.readings.protocol import CODEBOOK, Protocol
from rankwatch.runtime.diagnostics import Diagnostics
from rankwatch.runtime.distributed import World, quota


class CodebookCollector:
    """Listens to the model's quantizers in the batches before a reading. What fails in here goes quiet.

    Args:
        settings: The user's arguments; of the training batches the newest `rows.n_utterances` over all processes count.
        world: This process among the others.
        precision: The trainer's precision, for the protocol.
        diagnostics: Where failures are told.
    """

    def __init__(self, settings: Settings, world: World, precision: str, diagnostics: Diagnostics) -> None:
        self._settings = settings
        self._wanted = quota(settings.rows.n_utterances, world.rank, world.size)
        self._precision = precision
        self._complaints = diagnostics
        self._layer_hooks = CodeHooks([])
        self._listening = False
        self._batches: deque[tuple[int, dict[str, list[CodeAssignments]]]] = deque()
        self._step = -1
        self._in_step = 0  # utterances of the running optimiser step
        self._per_step = 1

    def attach(self, root: nn.Module) -> list[str]:
        """Find them; gives a sentence for the table where there are some."""
        if self._settings.watches_codebooks:
            with self._complaints.guarded("looking for quantizers"):
                self._layer_hooks = CodeHooks(find_quantizers(root))
        named = [f"{one.name} ({one.codes or 'unknown number of'} codes)" for one in self._layer_hooks.quantizers]
        return [f"codes are counted in the training pass: {', '.join(named)}"] if named else []

    @property
    def names(self) -> list[str]:
        """Paths of the quantizers."""
        return [one.name for one in self._layer_hooks.quantizers]

    def batch_starts(self, step: int, next_step: int | None) -> None:
        """Before a training batch, after `step` optimiser steps; there are hooks only where a reading is near."""
        if not self._layer_hooks.quantizers:
            return
        if step != self._step:
            self._step, self._per_step, self._in_step = step, self._in_step or self._per_step, 0
        before = 0 if next_step is None else next_step - step - 1
        self._listening = before * self._per_step < self._wanted
        if self._listening:
            self._layer_hooks.listen()

    def batch_ends(self) -> None:
        """After a training batch."""
        if not self._listening:
            return
        self._listening = False
        self._layer_hooks.stop()
        draws, utterances, failures = self._layer_hooks.take()
        for name, error in failures.items():
            self._fail(name, error)
        self._in_step += utterances
        self._batches.extend([(utterances, draws)] if draws else [])
        while self._batches and sum(count for count, _ in self._batches) - self._batches[0][0] >= self._wanted:
            self._batches.popleft()

    def _fail(self, name: str, error: Exception) -> None:
        self._layer_hooks.quantizers = [one for one in self._layer_hooks.quantizers if one.name != name]
        self._complaints.fail(f"quantizer {name}", f"quantizer {name} could not be read: {error}", error)

    def take(self) -> dict[str, CodeUsage]:
        """What was used in the batches before, counted; the next reading begins anew."""
        batches, self._batches = self._batches, deque()
        usages = {}
        for one in list(self._layer_hooks.quantizers):
            draws = [draw for _, drawn in batches for draw in drawn.get(one.name, ())]
            try:
                if draws:
                    usages[one.name] = CodeUsage.of(draws, one.codes)
            except Exception as error:
                self._fail(one.name, error)
        return usages

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
            input="masked",
            mode="train",
            precision=self._precision,
            seed=self._settings.rows.seed,
        )

    def close(self) -> None:
        """Take every hook away."""
        self._layer_hooks.stop()
        self._batches.clear()
