"""Where rows come from: batches held back, folders and loaders, and the training pass itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rankwatch.extraction.eval_sets.eval_set import ProbeSet, audio_probe_set, loader_probe_set
from rankwatch.extraction.eval_sets.labelled_set import LabelledSet
from rankwatch.extraction.inputs.audio_files import audio_files, padded_batches, read_files
from rankwatch.monitor.settings import Settings
from rankwatch.runtime.distributed import World, quota

_BATCH = 16  # utterances per forward pass of a probe set of files


def named_probe_sets(settings: Settings, world: World) -> dict[str, ProbeSet]:
    """Read every folder, labelled set and dataloader among the probe sets; ``"auto"`` is left to `HoldBack`.

    Raises:
        ValueError: For a folder without audio, or a dataloader without `probe_forward`.
        FileNotFoundError: For a folder that isn't there.
    """
    sets: dict[str, ProbeSet] = {}
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
        if name == settings.default_set:
            continue
        if isinstance(where, (str, Path)):
            utterances = read_files(audio_files(where), **how)
            sets[name] = audio_probe_set(name, padded_batches(list(utterances.values()), _BATCH))
        elif isinstance(where, LabelledSet):
            sets[name] = where.probe_set(name, batch_size=_BATCH, **how)
        elif settings.probe_forward is None:
            raise ValueError(
                f"probe set {name!r} is a dataloader: pass probe_forward=f, where f(module, batch) runs one of its "
                "batches through the model"
            )
        else:
            sets[name] = loader_probe_set(name, where, share, world.rank, world.size)
    return sets
