"""Readings of stored checkpoints: what rankwatch would have said of a run that it did not watch."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from rankwatch.arguments.plain_settings import plain_settings
from rankwatch.arguments.settings import RankWatchArguments, Settings
from rankwatch.readings.alarm import Alarm
from rankwatch.readings.reading import Reading
from rankwatch.replays.checkpoint_queue import CheckpointQueue
from rankwatch.replays.checkpoint_readings import CheckpointReadings, ModelOptions, on_all, waiting_with
from rankwatch.replays.model_weights import usable_device
from rankwatch.replays.replay_state import open_state
from rankwatch.replays.run_settings.earlier_run import EarlierRun, read_earlier_run
from rankwatch.replays.run_settings.replay_settings import Forward, replay_settings
from rankwatch.replays.run_settings.trainer_precision import checked_precision
from rankwatch.runtime.diagnostics import log_info
from rankwatch.runtime.distributed import processes
from rankwatch.runtime.files.run_paths import RunPath, run_path

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True)
class ReplayResult:
    """What came of a replay.

    Attributes:
        folder: Where its files are.
        readings: What was measured, newest last; the JSONL file has all of it, also of what was read before an
            interruption.
        alarms: What was found.
        steps: Steps that were read, now and before.
        failed: Why checkpoints could not be read, by path.
        healthy: The last checkpoint whose reading was healthy, or None.
    """

    folder: RunPath
    readings: list[Reading] = field(default_factory=list, repr=False)
    alarms: list[Alarm] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    healthy: RunPath | None = None


def replay(
    model: nn.Module | str | Path,
    checkpoints: str | Path | Sequence[str | Path],
    audio: Any = None,
    *,
    like: str | Path | None = None,
    out: str | Path = "replay",
    weights: str = "",
    prefix: str | None = None,
    forward: Forward = None,
    precision: str | None = None,
    device: str | None = None,
    follow: bool = False,
    until_step: int | None = None,
    idle_seconds: float | None = None,
    say: Callable[[str], None] = log_info,
    **arguments: Unpack[RankWatchArguments],
) -> ReplayResult:
    """Read the checkpoints of a run in the order of their steps, as a run would have read them while it trained.

    Readings, alarms, health, drift and files are those of `rankwatch.RankWatch`; nothing is trained, so the training
    pass isn't watched, and codes are counted where evaluation passes assign some. One model and one checkpoint's
    weights are in memory at a time. A replay that was interrupted goes on where it was when it is called again.

    Args:
        model: A model, whose weights are replaced and stay those of the last checkpoint, or ``"module:factory"`` (a
            function or class without arguments), a folder of Hugging Face's, a torchaudio bundle. A class of
            Lightning's that needs arguments is made from the hyperparameters in the first checkpoint.
        checkpoints: Files, folders and globs (``"run/*.ckpt"``), also URLs: of Lightning, plain ``state_dict``,
            safetensors, Hugging Face's folders, torch's sharded folders (DCP, FSDP), DeepSpeed (ZeRO 1 and 2), fairseq.
        audio: What `eval_sets` is of `rankwatch.RankWatch`: a folder or manifest of audio, `AudioFolder`,
            `LabelledSet`, `Loader`, or several by name. By default those of the run that `like` names.
        like: JSONL file or folder of a run whose settings are taken over: rows, layers, levels, seed, sensitivity,
            precision and evaluation sets, the stored first batches among them. Then a reading equals the run's own of
            the same checkpoint to the last digit, on like hardware.
        out: The replay's folder.
        weights: Which weights, where a checkpoint holds several: ``"teacher"``, ``"_ema"``, ``"current_model_state"``.
        prefix: What the names of weights in the checkpoints begin with; found by default.
        forward: ``f(model, batch)`` that runs a set's batches, or its import path, where the model's own call can't.
        precision: The training's, for example ``"bf16-mixed"``; by default that of the run, or ``"32-true"``.
        device: Where the model runs; by default the first GPU, or the CPU.
        follow: Whether to wait for checkpoints that are still to be written, until it is interrupted.
        until_step: Checkpoints of later steps aren't read; with `follow`: the step that ends it.
        idle_seconds: With `follow`: so many seconds without a new checkpoint end it.
        say: Prints a line.
        arguments: Further arguments of `rankwatch.RankWatch` (rows, layers, watch, sensitivity, name), which go before
            those of the run.

    Returns:
        What was read, and which checkpoints could not be. For a bad argument, a model that can't be made or run, or a
        folder that holds something else ValueError is raised.

    Raises:
        FileNotFoundError: If there is no checkpoint that can be read, with the reason, or no audio.

    Example:
        >>> import tempfile, torch
        >>> folder = tempfile.mkdtemp()
        >>> blocks = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
        >>> for step in (100, 200):
        ...     torch.save(blocks.state_dict(), f"{folder}/step={step}.pt")
        >>> batches = [torch.randn(4, 20, 8) for _ in range(8)]
        >>> from rankwatch import Loader, RowSampling, replay
        >>> loader = Loader(batches, forward=lambda model, batch: model(batch))
        >>> rows = RowSampling(n_utterances=32)
        >>> quietly = lambda line: None
        >>> found = replay(blocks, folder, loader, out=f"{folder}/replay", rows=rows, device="cpu", say=quietly)
        >>> found.steps, sorted({reading.layer for reading in found.readings})
        ([100, 200], ['layers.0', 'layers.1'])
    """
    run = read_earlier_run(like) if like is not None else None
    settings, notes = replay_settings(audio, run, forward, arguments)
    precision, of_precision = checked_precision(precision, run.precision if run is not None else None)
    notes += of_precision
    options = ModelOptions(model, weights, prefix, precision, usable_device(device))
    world, group = processes()
    say = say if world.rank == 0 else (lambda _: None)
    folder = run_path(out)
    state = open_state(folder, settings.name, _asked(options, run, settings))
    queue = None
    if world.rank == 0:
        wait = time.sleep if group is None else waiting_with(group)
        queue = CheckpointQueue(
            checkpoints, state, follow=follow, until_step=until_step, idle_seconds=idle_seconds, say=say, sleep=wait
        )
        why = queue.why_nothing(checkpoints)
        if why:
            raise FileNotFoundError(why)
        settings = _with_interval(settings, queue.steps)
    for note in notes:
        say(note)
    reader = CheckpointReadings(options, settings, folder, run, state, world, group, say)
    try:
        for one in on_all(queue, group):
            reason = reader.read(one)
            if reason and queue is not None:
                queue.put_back(one, reason)
    except BaseException as error:
        reader.close(type(error).__name__)
        raise
    reader.close("")
    if not reader.readings and state.done:
        say(f"nothing new: {len(state.done)} checkpoints were read before, up to step {state.last_step}")
    elif not reader.readings and not state.failed:
        say(f"no checkpoint has come at {checkpoints}")
    return ReplayResult(folder, reader.readings, reader.alarms, sorted(state.done), dict(state.failed), reader.healthy)


def _asked(options: ModelOptions, run: EarlierRun | None, settings: Settings) -> dict[str, Any]:
    """What a replay must have in common with the one that it goes on from."""
    source = options.source
    plain = plain_settings(settings)
    del plain["every_n_steps"]  # of a folder in which further checkpoints have come
    return {
        **plain,
        "model": type(source).__name__ if isinstance(source, nn.Module) else str(source),
        "weights": options.weights,
        "prefix": options.prefix,
        "precision": options.precision,
        "like": str(run.records) if run is not None else None,
    }


def _with_interval(settings: Settings, steps: Sequence[int]) -> Settings:
    """How far apart checkpoints are, for the table at the start; no step is left out for it."""
    if len(steps) < 2:
        return settings
    return dataclasses.replace(settings, every_n_steps=max(int(np.median(np.diff(steps))), 1))
