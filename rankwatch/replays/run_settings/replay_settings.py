"""What a replay reads and how: the user's arguments, and where they are silent those of the run itself."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from rankwatch.arguments.plain_settings import arguments_from, set_from
from rankwatch.arguments.settings import Settings
from rankwatch.extraction.eval_sets.eval_set_sources import AudioFolder, FirstBatches, Loader
from rankwatch.extraction.eval_sets.labelled_set import LabelledSet
from rankwatch.extraction.rows.sampling_options import RowSampling
from rankwatch.replays.run_settings.earlier_run import EarlierRun
from rankwatch.runtime.argument_kinds import function_of

Forward = str | Callable[..., Any] | None

NO_TRAINING = {
    "eval_sets": "the audio is its third argument, audio",
    "on_collapse": "nothing is trained that could be stopped",
    "on_alarm": "alarms are of the past",
    "max_overhead": "there is no training whose time it could be a share of",
    "every_n_steps": "each checkpoint is read",
    "strict": "a checkpoint that can't be read is named, and the others are read",
}
"""Arguments of a run that a replay has no use for, and why."""


def replay_settings(
    eval_sets: Any, like: EarlierRun | None, forward: Forward, arguments: Mapping[str, Any]
) -> tuple[Settings, list[str]]:
    """The settings of a replay.

    Args:
        eval_sets: The user's, or None for those of the run.
        like: The run whose settings are taken over, or None.
        forward: What runs the sets' batches through the model, or None.
        arguments: Further arguments of the user's, which go before the run's.

    Returns:
        The settings, and what isn't as it was in the run, in sentences.

    Raises:
        TypeError: For an argument that a replay has no use for.
        ValueError: If there is nothing to read, or the run's own settings can't be had again; with what to pass.
    """
    for name, why in NO_TRAINING.items():
        if name in arguments:
            raise TypeError(f"replay() has no argument {name!r}: {why}")
    notes: list[str] = list(like.notes) if like is not None else []
    run: dict[str, Any] = {}
    if like is not None:
        run = arguments_from({k: v for k, v in like.settings.items() if k not in arguments})
    sets = _run_sets(like, forward, notes) if eval_sets is None else _with_forward(eval_sets, forward)
    if not sets:
        raise ValueError(
            "there is no audio to read the checkpoints on: name a folder or a manifest (--audio), or a run whose "
            "evaluation sets are taken over (--like RUN.jsonl)"
        )
    chosen = {"rows": RowSampling(brief_utterances=None), **run, **arguments, "eval_sets": sets, "max_overhead": None}
    watched = chosen.get("watch", Settings.watch)
    if not isinstance(watched, str) and "training_pass" in watched:
        chosen["watch"] = [one for one in watched if one != "training_pass"]
        notes.append("the training pass isn't watched: a replay makes none")
    return Settings.of("replay", chosen), notes


def _run_sets(like: EarlierRun | None, forward: Forward, notes: list[str]) -> dict[str, Any]:
    """The run's sets in their order, the primary first."""
    sets: dict[str, Any] = {}
    for name, plain in (like.settings.get("eval_sets", {}) if like is not None else {}).items():
        found = set_from(plain, forward)
        if found is None:
            notes.append(f"the run's set {name!r} came from a dataloader, which its records don't hold: it isn't read")
        else:
            sets[name] = found
    return sets


def _with_forward(eval_sets: Any, forward: Forward) -> Any:
    """The user's sets, run by the user's function where they have none of their own."""
    if isinstance(eval_sets, Mapping):
        return {name: _with_forward(one, forward) for name, one in eval_sets.items()}
    if isinstance(eval_sets, (AudioFolder, LabelledSet, FirstBatches, Loader)):
        if forward is not None and eval_sets.forward is None:
            eval_sets = copy.copy(eval_sets)  # the user's own stays as it is
            eval_sets.forward = function_of("replay", "forward", forward, 2, "a function f(module, batch)")
        return eval_sets
    if isinstance(eval_sets, str) and eval_sets == "first_batches":
        return FirstBatches(forward)
    return AudioFolder(eval_sets, forward=forward)
