"""What happens at each of Lightning's hooks; `rankwatch.lightning` makes a callback of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from rankwatch.arguments.settings import Settings
from rankwatch.readings.alarm import Alarm
from rankwatch.readings.codebook_reading import CodebookReading
from rankwatch.readings.reading import Reading
from rankwatch.run.lightning_trainer import (
    builds_layers_late,
    checkpoints,
    outermost_module,
    run_folder,
)
from rankwatch.run.optimizers import OptimizerSteps, learning_rate
from rankwatch.run.session import Session
from rankwatch.runtime.diagnostics import Diagnostics
from rankwatch.runtime.distributed import ProcessGroup, World
from rankwatch.runtime.files.note_to_parent import NoteToParent


class LightningHooks:
    """The hooks of a callback, which both Lightnings call alike.

    Args:
        settings: The user's arguments.

    Attributes:
        settings: Likewise.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._session: Session | None = None
        self._restored: dict[str, Any] = {}
        self._state: dict[str, Any] = {}
        self._steps = OptimizerSteps()
        self._hooks: list[Callable[[], None]] = []
        self._seen: tuple[list[Reading], list[CodebookReading], list[Alarm]] = ([], [], [])
        self._published: dict[str, float] = {}
        self._note, self._diagnostics = NoteToParent(), Diagnostics(settings.name)
        self._records = ""

    @property
    def readings(self) -> list[Reading]:
        """All that was measured, newest last (bounded)."""
        return self._before()[0] if self._session is None else list(self._session.readings)

    @property
    def codebook_readings(self) -> list[CodebookReading]:
        """What was measured of quantizers, newest last."""
        return self._before()[1] if self._session is None else self._session.codebook_readings

    @property
    def alarms(self) -> list[Alarm]:
        """All alarms that were raised, newest last (bounded)."""
        return self._before()[2] if self._session is None else list(self._session.alarms)

    def _before(self) -> tuple[list[Reading], list[CodebookReading], list[Alarm]]:
        """What the last fit has left here; where it ran in processes of its own (``ddp_spawn``), says where it is."""
        there = self._note.read() if not self._seen[0] else ""
        if there:
            self._diagnostics.warn_once(
                there,
                "training ran in processes of its own, which took their readings and alarms with them; all are in "
                f"{there}, which rankwatch.reporting.read_jsonl reads",
            )
        return self._seen

    @property
    def state_key(self) -> str:
        """Two callbacks with different names have different states."""
        return f"RankWatch[{self.settings.name}]"

    # -- before training ---------------------------------------------------------------------------------

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Find layers and evaluation sets, so that what can be known to be wrong is reported before training."""
        if stage != "fit":
            return
        # What `validate` with a checkpoint has restored belongs to another run; that of `fit` comes after this.
        self._restored, self._state = {}, {}
        self._steps = OptimizerSteps()
        folder = None if trainer.fast_dev_run else run_folder(trainer)
        self._records = str(folder / f"{self.settings.name}.jsonl") if folder and trainer.global_rank == 0 else ""
        several = trainer.world_size > 1 and torch.distributed.is_available() and torch.distributed.is_initialized()
        self._session = Session(
            self.settings,
            folder=folder,
            world=World(trainer.global_rank, trainer.world_size) if several else World(),
            group=ProcessGroup() if several else None,
            precision=str(trainer.precision),
            autocast=lambda: trainer.precision_plugin.forward_context(),
            outermost=lambda: outermost_module(trainer, pl_module),
            rate=lambda: learning_rate(trainer.optimizers),
        )
        if not builds_layers_late(pl_module):
            self._session.attach(pl_module)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Find layers and evaluation sets where they are built only now."""
        if self._session is not None and builds_layers_late(pl_module):
            self._session.attach(pl_module)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Take over the state from before a restart; the run's time begins.

        Not in `on_fit_start`: strategies that shard the model restore after it, and so do learning-rate and batch-size
        finders.
        """
        if self._session is not None:
            restored, self._restored = self._restored, {}
            if restored:
                self._session.load_state_dict(restored)
            self._steps.begin(trainer)
            bounds = [f"{name}={least}" for name in ("min_steps", "min_epochs") if (least := getattr(trainer, name))]
            # Some recipes attach their loggers late.
            self._session.begin(
                loggers=() if trainer.fast_dev_run else trainer.loggers, earliest_stop=" and ".join(bounds)
            )
            if not pl_module.automatic_optimization:
                # What only looks like an optimiser has no hooks: then `global_step` has to do.
                registers = [getattr(optimizer, "register_step_post_hook", None) for optimizer in trainer.optimizers]
                with self._session.diagnostics.guarded("counting optimiser steps"):
                    self._hooks = [
                        register(self._steps.count_step).remove for register in registers if register is not None
                    ]
            self._publish(trainer)

    # -- during training ---------------------------------------------------------------------------------

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Copy this batch, as long as the evaluation set isn't full."""
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
        """Write the summary also when the run breaks off."""
        if self._session is not None:
            try:
                with contextlib.suppress(Exception):  # the user's own is on its way
                    if self._session.attached:
                        self._session.end(self._steps.update(trainer), interrupted_by=type(exception).__name__)
            finally:
                self._close()  # Lightning doesn't call teardown after an exception

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """No hook and no process group of ours outlives the fit; readings and alarms stay."""
        self._close()

    def _close(self) -> None:
        for remove in self._hooks:
            remove()
        self._hooks = []
        if self._session is not None:
            if self._session.attached:  # else an error is on its way that one of ours would hide
                self._seen = (self.readings, self.codebook_readings, self.alarms)
                if self._seen[0] and self._records:
                    self._note.leave(self._records)
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
                with self._session.diagnostics.guarded("writing a checkpoint of the collapse"):
                    checkpoint = run_folder(trainer) / f"{self.settings.name}-collapse-step={step}.ckpt"
                    trainer.save_checkpoint(str(checkpoint))
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
        if self._restored or self._session is None or not self._session.attached:
            return self._restored or self._state  # what was loaded and is still to be taken over, or the last run's
        return {**self._session.state_dict(), "steps": self._steps.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Called before `on_train_start`, which uses it."""
        self._restored = state_dict
        self._steps.load_state_dict(state_dict.get("steps", ()))
