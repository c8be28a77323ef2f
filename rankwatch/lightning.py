"""The callback for PyTorch Lightning: hooks of the trainer, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning import Callback

from rankwatch.alarms.detectors import Detector
from rankwatch.monitor.settings import LEVELS, Settings
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

    At each reading a small fixed evaluation set is run through the model in eval mode; from every layer's output
    rows are drawn at frame and at utterance level, and their effective rank (Roy & Vetterli, EUSIPCO 2007; RankMe,
    arXiv 2210.02885), corrected for the number of rows and for the projection, is shown, judged and written down.
    The training itself is untouched: the same seed gives the same weights with and without the callback.

    Args:
        name: Prefix of tags and files; two callbacks in one trainer need different ones.
        layers: ``"auto"`` (the convolutional front end and every transformer or conformer block), or globs over
            module paths.
        levels: ``"frame"``, ``"utterance"`` or both.
        eval_sets: ``"auto"`` (held back from the first training batches), or a mapping from a name to ``"auto"``, a
            folder of audio, a `rankwatch.LabelledSet` or a dataloader. The first is the primary: only it can raise a
            critical alarm.
        probe_forward: ``f(module, batch)`` that runs one evaluation batch through the model, or its import path. A
            folder's batches are ``(waveforms (B, T), lengths (B,))``. Needed only where the model family is not known
            and its own call can't be replayed.
        watch_train: Also read the training forward pass (with dropout and masking: evidence, never critical alone).
        codebooks: Also count the codes that quantizers (wav2vec 2.0's, BEST-RQ's) use in the training pass.
        every_n_steps: Optimiser steps between readings. The first comes as soon as the evaluation set is there, the
            last at the end of the run.
        n_utterances: Utterances per reading, over all processes.
        frames_per_utterance: Frames drawn from each.
        projection: ``"auto"`` (half of the columns where there are more than 512: a quarter of the time), None, or k:
            columns that wide layers are projected to at random.
        on_collapse: ``"warn"``; ``"stop"``: end the run at once, with a checkpoint of that moment; or ``"raise"``: the
            same, with `rankwatch.CollapseError`, which `min_steps` and `min_epochs` don't hold up.
        on_alarm: ``f(event)``, or its import path, called with a `rankwatch.AlarmEvent` on the first process when an
            episode of alarms begins, grows worse or ends; in a thread of its own.
        sensitivity: ``"low"``, ``"default"`` or ``"high"``: how soon an alarm is raised; or a file of thresholds that
            ``rankwatch calibrate`` has chosen from healthy runs of your own.
        detectors: What raises alarms, instead of the defaults; see `rankwatch.alarms.detectors`.
        max_overhead: Share of the run's wall time that watching may take. Where readings every `every_n_steps` would
            take more they are made less often, which is said; on all processes alike. A run is taken to last ten
            minutes at least, so that short ones have readings. None: never less often, reproducible to the step.
        lengths: ``"auto"``, ``"none"``, a dotted path into the batch, or a function of the batch that gives the
            utterances' lengths.
        frames: Where a mask over time is seen in a call that is replayed, or in the training pass: frames without it
            (``"unmasked"``), those under it (``"masked"``: their embeddings begin as one vector), or ``"all"``.
        sample_rate: Samples per second that the model expects; folders of audio are resampled to it.
        max_seconds: Files in folders are cut to this. They are decoded once and stay in memory (1 MB for 16 s).
        seed: Seed of the drawing and of the projection.
        strict: Raise on every failure of our own instead of warning once.

    Attributes:
        readings: What was measured, newest last (bounded; everything is in the JSONL file beside the run).
        alarms: What was found, likewise.

    Raises:
        ValueError: For a bad argument here; in `setup` for layers or evaluation sets that aren't there.

    Example:
        >>> from rankwatch import RankWatch
        >>> callback = RankWatch(every_n_steps=1000, on_collapse="stop")
        >>> callback.state_key
        'RankWatch[RankWatch]'
    """

    def __init__(
        self,
        *,
        name: str = "RankWatch",
        layers: str | list[str] = "auto",
        levels: list[str] | tuple[str, ...] = LEVELS,
        eval_sets: str | dict[str, Any] = "auto",
        probe_forward: str | Callable[[Any, Any], Any] | None = None,
        watch_train: bool = False,
        codebooks: bool = True,
        every_n_steps: int = 500,
        n_utterances: int = 512,
        frames_per_utterance: int = 4,
        projection: str | int | None = "auto",
        on_collapse: str = "warn",
        on_alarm: str | Callable[[AlarmEvent], Any] | None = None,
        sensitivity: str = "default",
        detectors: list[Detector] | None = None,
        max_overhead: float | None = 0.01,
        lengths: str | Callable[[Any], Any] = "auto",
        frames: str = "unmasked",
        sample_rate: int = 16_000,
        max_seconds: float = 15.0,
        seed: int = 0,
        strict: bool = False,
    ) -> None:
        arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        self.settings = Settings(**arguments)
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
