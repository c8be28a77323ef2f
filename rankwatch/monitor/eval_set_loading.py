"""Where rows come from: batches held back, folders and loaders, and the training pass itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rankwatch.extraction.eval_sets.eval_set import EvalSet, audio_eval_set, loader_eval_set
from rankwatch.extraction.eval_sets.labelled_set import LabelledSet
from rankwatch.extraction.inputs.audio_files import audio_files, padded_batches, read_files
from rankwatch.monitor.settings import Settings
from rankwatch.runtime.distributed import World, quota

_BATCH = 16  # utterances per forward pass of an evaluation set of files


def load_eval_sets(settings: Settings, world: World) -> dict[str, EvalSet]:
    """Read all evaluation sets but the default one, which `FirstBatchCollector` makes.

    Raises:
        ValueError: For a folder without audio, or a dataloader without `probe_forward`.
        FileNotFoundError: For a folder that isn't there.
    """
    sets: dict[str, EvalSet] = {}
    how: dict[str, Any] = {
        "count": settings.n_utterances,
        "sample_rate": settings.sample_rate,
        "max_seconds": settings.max_seconds,
        "seed": settings.seed,
        "rank": world.rank,
        "world_size": world.size,
    }
    share = quota(settings.n_utterances, world.rank, world.size)
    for name, where in settings.sets.items():
        if name == settings.first_batches_set:
            continue
        if isinstance(where, (str, Path)):
            utterances = read_files(audio_files(where), **how)
            sets[name] = audio_eval_set(name, padded_batches(list(utterances.values()), _BATCH))
        elif isinstance(where, LabelledSet):
            sets[name] = where.eval_set(name, batch_size=_BATCH, **how)
        elif settings.probe_forward is None:
            raise ValueError(
                f"evaluation set {name!r} is a dataloader: pass probe_forward=f, where f(module, batch) runs one of "
                "its "
                "batches through the model"
            )
        else:
            sets[name] = loader_eval_set(name, where, share, world.rank, world.size)
    return sets
