"""The callback for Hugging Face's Trainer: its hooks, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rankwatch.arguments.settings import RankWatchArguments, Settings
from rankwatch.readings.alarm import Alarm
from rankwatch.readings.codebook_reading import CodebookReading
from rankwatch.readings.reading import Reading
from rankwatch.run.optimizers import learning_rate
from rankwatch.run.session import Session
from rankwatch.runtime.diagnostics import log_info
from rankwatch.runtime.distributed import processes
from rankwatch.runtime.files.run_paths import run_path

if TYPE_CHECKING:
    from typing_extensions import Unpack

_UNSEEN = ()  # the batch, which this Trainer doesn't pass to callbacks; None would stand for an empty batch


class RankWatchCallback(TrainerCallback):  # type: ignore[misc, unused-ignore] # transformers has no types everywhere
    """Watches the effective rank of every layer while Hugging Face's Trainer pretrains a speech model.

    Readings, alarms and promises are those of `rankwatch.RankWatch`; files, event files for TensorBoard among them, go
    to ``rankwatch/`` in the Trainer's `output_dir`, the state into each checkpoint's folder. The Trainer doesn't show
    its batches to callbacks, so valid lengths have to be among the arguments of the model's own calls (its
    `attention_mask`) or come from the model, `RowSampling.lengths` can't name a field of the batch, and the first
    batches can't be run by a `forward` of your own. After an exception in the
    training loop the Trainer calls no callback: then there is no summary.

    Args:
        arguments: All arguments of `rankwatch.RankWatch`. With ``on_collapse="stop"`` the Trainer saves a checkpoint
            and ends; with ``"raise"`` it does the same, and then raises `rankwatch.CollapseError`.

    Attributes:
        readings: What was measured, newest last.
        alarms: What was found, likewise.

    Raises:
        TypeError: For an argument that isn't known, or that had another name before.
        ValueError: For a bad argument; in `on_train_begin` for layers or evaluation sets that aren't there.

    Example:
        >>> from rankwatch.huggingface import RankWatchCallback
        >>> callback = RankWatchCallback(every_n_steps=1000, on_collapse="stop")
        >>> callback.settings.every_n_steps  # Trainer(callbacks=[callback], ...)
        1000
    """

    def __init__(self, **arguments: Unpack[RankWatchArguments]) -> None:
        self.settings = Settings.of(type(self).__name__, arguments)
        if self.settings.rows.lengths not in ("auto", "none"):
            raise ValueError(
                f"rows=RowSampling(lengths={self.settings.rows.lengths!r}): lengths can't be a field or a function of "
                "the batch, since the Trainer shows its batches to no callback; give the model an attention_mask "
                '(lengths="auto" finds it in the call), or pass lengths="none" (every frame counts)'
            )
        first_batches = self.settings.first_batches_set
        if first_batches is not None and self.settings.sets[first_batches].forward is not None:
            raise ValueError(
                "eval_sets: FirstBatches(forward=...) can't be used here, since the Trainer shows its batches to no "
                "callback; pass the audio as AudioFolder(path, forward=f) or Loader(loader, forward=f)"
            )
        self._session: Session | None = None
        self._writer: Any = None
        self._checkpoints: list[str] = []
        self._seen: tuple[list[Reading], list[CodebookReading], list[Alarm]] = ([], [], [])

    @property
    def readings(self) -> list[Reading]:
        """What was measured, newest last."""
        return self._seen[0] if self._session is None else list(self._session.readings)

    @property
    def codebook_readings(self) -> list[CodebookReading]:
        """What was measured of quantizers, newest last."""
        return self._seen[1] if self._session is None else self._session.codebook_readings

    @property
    def alarms(self) -> list[Alarm]:
        """What was found, newest last."""
        return self._seen[2] if self._session is None else list(self._session.alarms)

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        """Find layers and evaluation sets, and take over the state from before a restart."""
        self._close()
        world, group = processes()
        folder = run_path(str(args.output_dir)) / "rankwatch"
        precision, autocast = _precision(args)
        self._session = Session(
            self.settings,
            folder=folder,
            world=world,
            group=group,
            precision=precision,
            autocast=autocast,
            rate=lambda: learning_rate([optimizer]),
        )
        self._session.attach(model)
        if state.global_step:
            self._resume(_folder(args, state), state)
        self._writer = self._session.own_writer() if world.rank == 0 else None
        self._session.begin(loggers=[self._writer] if self._writer is not None else [])

    def _resume(self, checkpoint: Path, state: TrainerState) -> None:
        assert self._session is not None
        saved: dict[str, Any] | None = None
        reason = "" if _is_of(checkpoint, state) else f"{checkpoint} is another run's than the one that goes on"
        try:
            saved = torch.load(checkpoint / self._state_file, weights_only=True) if not reason else None
        except Exception as error:  # not there, or broken: no reason to break the run
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        if reason:
            log_info(f"{self.settings.name}: no state from before the restart, its curves start again ({reason}).")
        self._session.load_state_dict(saved)

    @property
    def _state_file(self) -> str:
        return f"{self.settings.name}.pt"

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Before the first forward pass of an optimiser step."""
        if self._session is not None:
            self._session.batch_starts(_UNSEEN, state.global_step)

    def on_substep_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Between the batches of one optimiser step."""
        if self._session is not None:
            self._session.batch_ends(_UNSEEN)
            self._session.batch_starts(_UNSEEN, state.global_step)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Make a reading when one is due."""
        if self._session is not None:
            self._session.batch_ends(_UNSEEN)
            self._read_if_due(state, control)
            if control.should_training_stop or state.global_step >= state.max_steps:
                self._read_last(state)

    def on_epoch_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """After one pass over the data the evaluation set can't grow any more."""
        if self._session is not None:
            self._session.epoch_ends()
            self._read_if_due(state, control)
            if control.should_training_stop:
                self._read_last(state)

    def _read_last(self, state: TrainerState) -> None:
        """Before training has ended: with `load_best_model_at_end` there is another model then."""
        assert self._session is not None
        self._session.last_reading(state.global_step, self._saved)

    def _read_if_due(self, state: TrainerState, control: TrainerControl) -> None:
        assert self._session is not None
        if self._session.read_if_due(state.global_step, self._saved):
            control.should_training_stop = control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Write the state into the checkpoint's folder."""
        if self._session is None or not args.should_save:  # one process, or one of each machine
            return
        checkpoint = _folder(args, state)
        self._checkpoints.append(str(checkpoint))
        with self._session.diagnostics.guarded("writing the state"):
            checkpoint.mkdir(parents=True, exist_ok=True)
            torch.save(self._session.state_dict(), checkpoint / self._state_file)

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """The summary, and the last reading where it wasn't made yet."""
        if self._session is not None:
            try:
                if not args.load_best_model_at_end:
                    self._read_last(state)
                self._session.end(state.global_step)
                if self._session.stopped:
                    self._session.raise_if_asked(state.global_step)
            finally:
                self._close()

    def _saved(self) -> tuple[list[str], list[str]]:
        return self._checkpoints, []

    def _close(self) -> None:
        if self._session is not None:
            self._seen = (self.readings, self.codebook_readings, self.alarms)
            if self._writer is not None:
                self._writer.close()
            self._session.close()
            self._session = self._writer = None


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"


def _is_of(checkpoint: Path, state: TrainerState) -> bool:
    """Whether a checkpoint in the output folder is the one that was resumed from, which may lie anywhere."""
    try:
        saved = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    except Exception:  # not there, or of another version
        return True
    return bool(saved.log_history == state.log_history)


def _precision(args: TrainingArguments) -> tuple[str, Callable[[], contextlib.AbstractContextManager[Any]]]:
    """The protocol's word, and the context in which the Trainer runs the model."""
    if not (args.bf16 or args.fp16):
        return "32-true", contextlib.nullcontext
    dtype = torch.bfloat16 if args.bf16 else torch.float16
    return ("bf16-mixed" if args.bf16 else "16-mixed"), lambda: torch.autocast(args.device.type, dtype)
