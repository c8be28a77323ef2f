"""The study's tables from its stored readings, in seconds.

python tests/benchmarks/study/table.py
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from scipy.stats import spearmanr

import study
from rankwatch.correlation.correlate_series import correlate_series
from rankwatch.correlation.evidence.association import BEYOND_STEP, Association
from rankwatch.correlation.evidence.choice import CHANCE, LAST, Choice
from rankwatch.correlation.evidence.findings import RANK, Finding
from rankwatch.correlation.inputs.read_run import read_run
from rankwatch.correlation.inputs.run_series import LOSS, RunSeries, Series
from rankwatch.correlation.result import Correlation
from rankwatch.correlation.statistics.coefficients import SPEARMAN
from study.catalogue import catalogue
from study.read import RESULTS
from study.sets import OUT_OF_DOMAIN

SETTLED = 200
"""The learning rate's warm-up ends here: ranks of before are those of random weights that are being left."""
MEASURES = (
    *(RANK, "rankme", "participation_ratio", "stable_rank", "top1_explained_variance", "mean_energy_fraction"),
    *("std_normalised", "within_utterance_variance_fraction", LOSS),
)
SOUNDS = ("clips_of_0.1_s", "clips_of_0.3_s", "silent_50", "silent_90", "music", "alarms")
NAMES = {
    ("phones_emotion", "frame"): "phones",
    ("phones_emotion", "utterance"): "emotion",
    ("words", "frame"): "words",
}


def load(folder: Path = RESULTS) -> list[RunSeries]:
    """All runs that are stored, in the catalogue's order."""
    found = []
    with tempfile.TemporaryDirectory() as unpacked:
        for run in catalogue():
            path = folder / f"{run.name}.jsonl.gz"
            if path.exists():
                plain = Path(unpacked) / f"{run.name}.jsonl"
                plain.write_bytes(gzip.decompress(path.read_bytes()))
                lines = [json.loads(line) for line in plain.read_text().splitlines() if '"record": "loss"' in line]
                series = read_run(plain, run.name)
                found.append(dataclasses.replace(series, measures=[*series.measures, _loss(lines)], notes=()))
    return found


def _loss(lines: Sequence[dict[str, float]]) -> Series:
    steps = np.array([line["step"] for line in lines], np.int64)
    return Series(LOSS, "", "", "", steps, np.array([line["loss"] for line in lines]), direction=-1)


def checks_of(runs: Sequence[RunSeries]) -> list[tuple[str, str]]:
    """Set and level of each check."""
    return list(dict.fromkeys((one.source, one.level) for run in runs for one in run.checks))


def correlated(
    runs: Sequence[RunSeries],
    check: tuple[str, str],
    rank_on: str,
    from_step: int,
    measures: Sequence[str] = (RANK, LOSS),
) -> Correlation:
    """One check with the measures of one set, methods being the independent units."""
    chosen = [
        dataclasses.replace(
            run,
            checks=[one for one in run.checks if (one.source, one.level) == check],
            measures=[one for one in run.measures if one.source in (rank_on, "") and one.name in measures],
            primary=rank_on,
        )
        for run in runs
    ]
    groups = {run.name: run.name.rpartition("-")[0] for run in runs}
    return correlate_series(chosen, groups=groups, from_step=from_step)


def interval(one: Association | Choice | None, scale: float = 1.0, digits: int = 2) -> str:
    """A value with its interval, or what is missing."""
    if one is None:
        return "-"
    value, low, high = (scale * x for x in (one.value if isinstance(one, Association) else one.lost, one.low, one.high))
    if not np.isfinite(value):
        return "-"
    ends = f" [{low:.{digits}f}, {high:.{digits}f}]" if np.isfinite(low) else " [?]"
    return f"{value:.{digits}f}{ends}"


def name_of(check: tuple[str, str]) -> str:
    """A check in a word."""
    outside = " (out of domain)" if check[0] in OUT_OF_DOMAIN else ""
    return NAMES.get(check, check[0]) + outside


def spoken_of(found: Correlation) -> Finding:
    """The one finding of a correlation of one check."""
    (finding,) = found.findings
    return finding


def main() -> None:
    """Print all tables."""
    runs = load()
    print(f"{len(runs)} runs: {', '.join(run.name for run in runs)}\n")
    own = {}
    for from_step in (0, SETTLED):
        print(f"\n## Rank on the check's own recordings, checkpoints from step {from_step} on\n")
        measures = MEASURES if from_step else (RANK, LOSS)
        own[from_step] = {check: correlated(runs, check, check[0], from_step, measures) for check in checks_of(runs)}
        _print(
            ["check", "layer", "over time", "beyond the step", "follows", "layers: yes/against/no/not known"],
            (_follows_row(check, found) for check, found in own[from_step].items()),
        )
    print("\n## Rank on unseen speech like that of the training, from the same step on\n")
    unseen = {check: correlated(runs, check, "unseen", SETTLED) for check in checks_of(runs)}
    _print(
        ["check", "layer", "over time", "beyond the step", "follows", "layers: yes/against/no/not known"],
        (_follows_row(check, found) for check, found in unseen.items()),
    )
    print("\n## Points of accuracy lost against the best choice\n")
    _print(
        ["check", "checkpoint by rank", "by loss", "last", "by chance", "layer by rank", "last layer", "run by rank"],
        (_lost_row(check, found) for check, found in own[SETTLED].items()),
    )
    print("\n## Across layers, across runs\n")
    _print(
        ["check", "over layers", "over methods at the end"],
        (
            [name_of(check), interval(spoken_of(found).across_layers), interval(spoken_of(found).across_runs)]
            for check, found in own[SETTLED].items()
        ),
    )
    print("\n## Which measure follows, beyond the step (Spearman, in the layer that the check says most for)\n")
    _print(["check", *MEASURES], (_measures_row(check, found) for check, found in own[SETTLED].items()))
    print("\n## Rank of short, silent and strange sounds\n")
    _print(["sounds", "level", "with the rank of unseen speech", "rank, first and last checkpoint"], _sound_rows(runs))


def _print(head: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def _follows_row(check: tuple[str, str], found: Correlation) -> list[str]:
    one = spoken_of(found)
    counts = [list(one.follows_by_layer.values()).count(word) for word in ("yes", "against", "no", "not known")]
    cells = [one.layer, interval(one.over_time), interval(one.beyond), one.follows, "/".join(map(str, counts))]
    return [name_of(check), *cells]


def _lost_row(check: tuple[str, str], found: Correlation) -> list[str]:
    one = spoken_of(found)
    cells = [interval(one.lost.get(rule), 100.0, 1) for rule in (RANK, LOSS, LAST, CHANCE)]
    last = next(
        (c for c in found.choices if not c.run and (c.what, c.rule, c.against) == ("layer", LAST, "best")), None
    )
    layers = [interval(choice, 100.0, 1) for choice in (one.layers_lost, last)]
    return [name_of(check), *cells, *layers, interval(one.run_lost, 100.0, 1)]


def _measures_row(check: tuple[str, str], found: Correlation) -> list[str]:
    one = spoken_of(found)
    cells = []
    for measure in MEASURES:
        these = [
            a
            for a in found.associations
            if (a.measure, a.scope, a.coefficient, a.layer, a.run) == (measure, BEYOND_STEP, SPEARMAN, one.layer, "")
            and a.level in (check[1], "")
        ]
        cells.append(interval(these[0]) if these else "-")
    return [name_of(check), *cells]


def _sound_rows(runs: Sequence[RunSeries]) -> Iterator[list[str]]:
    """Over checkpoints of a layer: Spearman of the rank on sounds with that on speech; over layers and runs."""
    for source in SOUNDS:
        for level in ("frame", "utterance"):
            agree, ends = [], []
            for run in runs:
                ranks = {(m.source, m.layer): m for m in run.measures if m.name == RANK and m.level == level}
                for layer in run.layers:
                    here, there = ranks.get((source, layer)), ranks.get(("unseen", layer))
                    if here is None or there is None:
                        continue
                    late = here.steps >= SETTLED
                    agree.append(spearmanr(here.values[late], there.at(here.steps[late])).statistic)
                    ends.append((here.values[0], here.values[-1]))
            low, middle, high = np.nanquantile(agree, (0.1, 0.5, 0.9))
            first, last = np.median(np.array(ends), axis=0)
            yield [source, level, f"{middle:.2f} ({low:.2f} to {high:.2f})", f"{first:.1f}, {last:.1f}"]


if __name__ == "__main__":
    assert study.__doc__
    main()
