"""The named evaluation sets, read once before training begins."""

from __future__ import annotations

from rankwatch.extraction.eval_sets.eval_set import EvalSet
from rankwatch.extraction.eval_sets.eval_set_sources import FirstBatches
from rankwatch.monitor.settings import Settings
from rankwatch.runtime.distributed import World


def load_eval_sets(settings: Settings, world: World) -> dict[str, EvalSet]:
    """Read all evaluation sets but the first batches, which `FirstBatchCollector` collects during training.

    A folder that isn't there raises FileNotFoundError, one without audio ValueError.

    Args:
        settings: The user's arguments.
        world: This process among the others.

    Returns:
        This process's share of each set, by name.
    """
    return {
        name: source.load(name, count=settings.rows.n_utterances, seed=settings.rows.seed, world=world)
        for name, source in settings.sets.items()
        if not isinstance(source, FirstBatches)
    }
