"""What rank is worth on one's own labels: from records and tables to a `Correlation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rankwatch.correlation.correlate_series import correlate_series
from rankwatch.correlation.inputs.check_tables import with_checks
from rankwatch.correlation.inputs.losses import with_losses
from rankwatch.correlation.inputs.read_run import read_run
from rankwatch.correlation.result import Correlation
from rankwatch.reporting.search.record_search import find_records, run_names


def correlate(
    runs: str | Path | Sequence[str | Path],
    *,
    checks: str | Path | None = None,
    lower_is_better: Sequence[str] = (),
    loss: str | Path | None = None,
    loss_tag: str = "",
    names: Sequence[str] = (),
    groups: Mapping[str, str] | None = None,
    layer: str = "",
    measures: Sequence[str] = (),
    from_step: int = 0,
    seed: int = 0,
    out: str | Path | None = None,
) -> Correlation:
    """Whether effective rank, and every other label-free measure, follows labelled checks over the checkpoints of runs.

    Labelled checks are the linear probes of labelled evaluation sets (``probe_accuracy``), and what a table holds.
    Measures are compared with them over time, beyond the passage of training (see ``docs/pages/correlate.md``), across
    layers and across runs, and it is said what choosing a checkpoint, a layer or a run by them would have lost.

    Args:
        runs: Runs' ``.jsonl`` files, live or replayed, or folders with such files at any depth.
        checks: A CSV table with the columns ``run`` (may be missing for one run), ``step``, ``task``, ``value`` and,
            where it applies, ``layer``, ``level`` and ``utterance`` (a line for each utterance).
        lower_is_better: Tasks in that table of which less is better.
        loss: A CSV table with the columns ``run``, ``step`` and ``value``; by default the loss is looked for in a
            logger's files beside the records.
        loss_tag: Its name in these files; by default the one that looks like the training loss.
        names: What the runs are called, in their order; what tells their paths apart by default.
        groups: Each run's group, for example its method where runs are several seeds of several methods. Groups are
            the independent units then.
        layer: The layer that sentences speak of (``"L04"``); each check's best one by default.
        measures: Measures to compare besides effective rank and the loss; all by default.
        from_step: Checkpoints before it are left out.
        seed: Of the drawing of utterances.
        out: A folder for tables, sentences and figures; nothing is written by default.

    Returns:
        What was found. 15 runs of 20 checkpoints and six layers, with 73 measures and five checks of each layer, take
        32 s on one core, and 13 s more for files of 213 MiB; 12 s and 72 MiB with three `measures`.

    Raises:
        ValueError: If there are no records or no check, or a table or a name doesn't fit.
    """
    records = find_records([runs] if isinstance(runs, (str, Path)) else runs)
    if names and len(names) != len(records):
        raise ValueError(f"{len(names)} names for {len(records)} runs")
    called = list(names) or run_names(records)
    series = [read_run(path, name) for path, name in zip(records, called, strict=True)]
    if checks is not None:
        series = with_checks(series, checks, lower_is_better)
    series = with_losses(series, records, loss, loss_tag)
    found = correlate_series(series, groups=groups, layer=layer, measures=measures, from_step=from_step, seed=seed)
    if out is not None:
        found.save(out)
    return found
