"""The callback for PyTorch Lightning: hooks of the trainer, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning import Callback

from rankwatch.alarms.detectors import Detector
from rankwatch.extraction.rows.sampling_options import RowSampling
from rankwatch.monitor.renamed_arguments import refusing_renamed
from rankwatch.monitor.settings import EvalSets, Settings
from rankwatch.readings.alarm import Alarm
from rankwatch.readings.reading import Reading
from rankwatch.run.alarm_actions import AlarmEvent
from rankwatch.run.lightning_trainer import (
    builds_layers_late,
    checkpoints,
    outermost_module,
    run_folder,
    training_context,
)
from rankwatch.run.optimizers import OptimizerSteps, learning_rate
from rankwatch.run.session import Session
from rankwatch.runtime.distributed import ProcessGroup, World

if TYPE_CHECKING:
    _Base = Callback
else:
    # Both Lightnings' command lines insist on a base class of their own; where both are installed this is both.
    try:
        from lightning.pytorch import Callback as _UnifiedCallback

        class _Base(Callback, _UnifiedCallback): ...
    except ImportError:
        _Base = Callback


class RankWatch(_Base):
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
        layers: ``"auto"`` (the convolutional front end and every transformer or conformer block), or a list of globs
            over module paths.
        watch: What is measured, any of ``"frame"`` (rows that are frames), ``"utterance"`` (rows that are means over
            an utterance's frames), ``"codebook"`` (which codes quantizers such as wav2vec 2.0's or BEST-RQ's use in the
            training pass) and ``"training_pass"`` (rows of the training forward pass as well, with its dropout and
            masks; its source is called ``"train"``, and it never raises a critical alarm alone).
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
        super().__init__()
        self.settings = Settings(
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
        self._session: Session | None = None
        self._restored: dict[str, Any] = {}
        self._state: dict[str, Any] = {}
        self._steps = OptimizerSteps()
        self._hooks: list[Callable[[], None]] = []
        self._seen: tuple[list[Reading], list[Alarm]] = ([], [])
        self._published: dict[str, float] = {}

    @property
    def readings(self) -> list[Reading]:
        """What was measured, newest last."""
        return self._seen[0] if self._session is None else list(self._session.readings)

    @property
    def alarms(self) -> list[Alarm]:
        """What was found, newest last."""
        return self._seen[1] if self._session is None else list(self._session.alarms)

    @property
    def state_key(self) -> str:
        """Two callbacks with different names have different states."""
        return f"RankWatch[{self.settings.name}]"

    # -- before training ---------------------------------------------------------------------------------

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Find layers and evaluation sets, so that what can be known to be wrong is told before training."""
        if stage != "fit":
            return
        # What `validate` with a checkpoint has restored belongs to another run; that of `fit` comes after this.
        self._restored, self._state = {}, {}
        self._steps = OptimizerSteps()
        several = trainer.world_size > 1 and torch.distributed.is_available() and torch.distributed.is_initialized()
        self._session = Session(
            self.settings,
            folder=None if trainer.fast_dev_run else run_folder(trainer),
            world=World(trainer.global_rank, trainer.world_size) if several else World(),
            group=ProcessGroup() if several else None,
            precision=str(trainer.precision),
            autocast=lambda: training_context(trainer, pl_module),
            outermost=lambda: outermost_module(trainer, pl_module),
            rate=lambda: learning_rate(trainer.optimizers),
        )
        if not builds_layers_late(pl_module):
            self._session.attach(pl_module)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Take over the state from before a restart."""
        if self._session is None:
            return
        if builds_layers_late(pl_module):
            self._session.attach(pl_module)
        if self._restored:
            self._session.load_state_dict(self._restored)
            self._restored = {}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """The run's time begins."""
        if self._session is not None:
            bounds = [f"{name}={least}" for name in ("min_steps", "min_epochs") if (least := getattr(trainer, name))]
            # Some recipes attach their loggers late.
            self._session.begin(
                loggers=() if trainer.fast_dev_run else trainer.loggers, earliest_stop=" and ".join(bounds)
            )
            if not pl_module.automatic_optimization:
                # What only looks like an optimiser has no hooks: then `global_step` has to do.
                registers = [getattr(optimizer, "register_step_post_hook", None) for optimizer in trainer.optimizers]
                with self._session.guarded("counting optimiser steps"):
                    self._hooks = [
                        register(self._steps.count_step).remove for register in registers if register is not None
                    ]
            self._publish(trainer)

    # -- during training ---------------------------------------------------------------------------------

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Hold back this batch, as long as the evaluation set isn't full."""
        if self._session is not None:
            self._session.batch_starts(batch, self._steps.update(trainer))

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """Draw rows from the training pass, where that is watched."""
        if self._session is not None:
            self._session.before_backward()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Make a reading when one is due."""
        if self._session is not None:
            self._session.batch_ends(batch)
            self._read_if_due(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """After one pass over the data the evaluation set can't grow any more."""
        if self._session is not None:
            self._session.epoch_ends()
            self._read_if_due(trainer)
            self._publish(trainer)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Lightning clears the metrics that callbacks monitor when a validation begins."""
        if self._session is not None:
            self._publish(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """The last reading, and the summary."""
        if self._session is not None:
            self._session.end(self._steps.update(trainer), lambda: checkpoints(trainer))
            self._publish(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Close the books also when the run breaks off."""
        if self._session is not None:
            try:
                with contextlib.suppress(Exception):  # the user's own is on its way
                    self._session.end(self._steps.update(trainer), interrupted_by=type(exception).__name__)
            finally:
                self._close()  # Lightning doesn't call teardown after an exception

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """No hook and no process group of ours outlives the fit; what was seen stays."""
        self._close()

    def _close(self) -> None:
        for remove in self._hooks:
            remove()
        self._hooks = []
        if self._session is not None:
            if self._session.attached:  # else an error is on its way that one of ours would hide
                self._seen = (self.readings, self.alarms)
                with contextlib.suppress(Exception):
                    self._state = self.state_dict()
            self._session.close()
            self._session = None

    def _read_if_due(self, trainer: Any) -> None:
        assert self._session is not None
        step = self._steps.update(trainer)
        if self._session.read_if_due(step, lambda: checkpoints(trainer)):
            trainer.should_stop = True
            if not trainer.fast_dev_run:
                with self._session.guarded("writing a checkpoint of the collapse"):
                    trainer.save_checkpoint(run_folder(trainer) / f"{self.settings.name}-collapse-step={step}.ckpt")
            self._session.raise_if_asked(step)
        if self._session.published != self._published:
            self._publish(trainer)

    def _publish(self, trainer: Any) -> None:
        """Put the scalars where EarlyStopping and ModelCheckpoint look.

        Not at each step: asking for `callback_metrics` makes Lightning fetch what goes to the progress bar from the
        device, for which the device has to have finished.
        """
        assert self._session is not None
        self._published = dict(self._session.published)
        trainer.callback_metrics.update({tag: torch.tensor(value) for tag, value in self._published.items()})

    def state_dict(self) -> dict[str, Any]:
        """Plain values, small; loads with ``weights_only=True``."""
        if self._session is None or not self._session.attached:
            return self._restored or self._state
        return {**self._session.state_dict(), "steps": self._steps.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Called before `on_fit_start`, which uses it."""
        self._restored = state_dict
        self._steps.load_state_dict(state_dict.get("steps", ()))
