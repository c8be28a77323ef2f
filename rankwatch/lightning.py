"""The callback for PyTorch Lightning: its arguments. What happens at a hook is in `rankwatch.run.lightning_hooks`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning import Callback

from rankwatch.alarms.detectors import Detector
from rankwatch.arguments.named_sets import EvalSets
from rankwatch.arguments.renamed_arguments import refusing_renamed
from rankwatch.arguments.settings import Settings
from rankwatch.extraction.rows.sampling_options import RowSampling
from rankwatch.run.alarm_actions import AlarmEvent
from rankwatch.run.lightning_hooks import LightningHooks

if TYPE_CHECKING:
    _Base = Callback
else:
    # Both Lightnings' command lines insist on a base class of their own; where both are installed this is both.
    try:
        from lightning.pytorch import Callback as _UnifiedCallback

        class _Base(Callback, _UnifiedCallback): ...
    except ImportError:
        _Base = Callback


class RankWatch(LightningHooks, _Base):
    """Watches the effective rank of every layer while a speech model pretrains.

    At each reading a small fixed evaluation set is run through the model in eval mode. From every layer's output rows
    are drawn at frame and at utterance level, and their effective rank (Roy & Vetterli, EUSIPCO 2007; RankMe,
    arXiv 2210.02885), corrected for the number of rows and for the projection, is logged, compared with the run's past
    and written to a file. Training is not affected: the same seed gives the same weights with and without the callback.

    Args:
        on_collapse: What a confirmed collapse leads to. ``"warn"``: a warning; ``"stop"``: the run ends at once, with a
            checkpoint of that moment; ``"raise"``: the same, with `rankwatch.CollapseError`, which `min_steps` and
            `min_epochs` don't delay.
        on_alarm: ``f(event)``, or its import path, called with a `rankwatch.AlarmEvent` on the first process when an
            episode of alarms begins, gets worse or ends; in a thread of its own.
        sensitivity: How soon an alarm is raised: ``"low"``, ``"default"`` or ``"high"``; or a file of thresholds that
            ``rankwatch calibrate`` has chosen from healthy runs of your own (.yaml); or the detectors themselves, as
            a list (see `rankwatch.alarms.detectors`).
        every_n_steps: Optimiser steps between readings. The first is made as soon as the evaluation set is complete,
            the last at the end of the run.
        max_overhead: Share of the run's wall time that watching may take. Where readings every `every_n_steps` would
            take more they are made less often, on all processes alike, with a warning. A run is taken to last ten
            minutes at least, so that short ones have readings. None: never less often, reproducible to the step.
        layers: ``"auto"`` (the convolutional front end and every transformer or conformer block; in models without
            these recurrent layers, or blocks of convolutions), or a list of globs over module paths, in which
            ``"auto"`` may stand as well: ``["auto", "feature_projection"]``.
        watch: What is measured, any of ``"frame"`` (rows that are frames), ``"utterance"`` (rows that are means over
            an utterance's frames), ``"codebook"`` (which codes quantizers such as wav2vec 2.0's or BEST-RQ's use in the
            training pass), ``"drift"`` (how far each layer of the primary set has moved between full readings) and
            ``"training_pass"`` (rows of the training forward pass as well, with its dropout and masks; its source is
            called ``"train"``, and it never raises a critical alarm alone).
        eval_sets: The audio of the readings: ``"first_batches"`` (copied from the first training batches), a folder,
            one of `rankwatch.FirstBatches`, `rankwatch.AudioFolder`, `rankwatch.LabelledSet` and `rankwatch.Loader`,
            or a mapping from names of your choice to any of these. The first is the primary set: only it can raise a
            critical alarm.
        rows: How rows are drawn from each forward pass; see `rankwatch.RowSampling`.
        name: Prefix of tags and files; two callbacks in one trainer need different ones.
        strict: Raise where rankwatch itself fails, instead of one warning while training goes on.

    Attributes:
        readings: All that was measured, newest last (bounded; everything is in the JSONL file of the run).
        alarms: All alarms that were raised, likewise.

    Raises:
        TypeError: For an argument that isn't known, or that had another name before.
        ValueError: For a bad argument here; in `setup` for layers or evaluation sets that aren't there.

    Example:
        >>> from rankwatch import RankWatch, RowSampling
        >>> callback = RankWatch(every_n_steps=1000, on_collapse="stop", rows=RowSampling(n_utterances=256))
        >>> callback.state_key
        'RankWatch[RankWatch]'
    """

    @refusing_renamed
    def __init__(
        self,
        *,
        on_collapse: str = Settings.on_collapse,
        on_alarm: str | Callable[[AlarmEvent], Any] | None = Settings.on_alarm,
        sensitivity: str | Path | Sequence[Detector] = Settings.sensitivity,
        every_n_steps: int = Settings.every_n_steps,
        max_overhead: float | None = Settings.max_overhead,
        layers: str | Sequence[str] = Settings.layers,
        watch: Sequence[str] = Settings.watch,
        eval_sets: EvalSets = Settings.eval_sets,
        rows: RowSampling = Settings.rows,
        name: str = Settings.name,
        strict: bool = Settings.strict,
    ) -> None:
        settings = Settings(
            on_collapse=on_collapse,
            on_alarm=on_alarm,
            sensitivity=sensitivity,
            every_n_steps=every_n_steps,
            max_overhead=max_overhead,
            layers=layers,
            watch=watch,
            eval_sets=eval_sets,
            rows=rows,
            name=name,
            strict=strict,
        )
        super().__init__(settings)
