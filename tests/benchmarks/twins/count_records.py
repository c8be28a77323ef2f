"""How often `rankwatch compare` tells runs apart by their records: by ranks, and by how fast layers move.

    python tests/benchmarks/twins/count_records.py --records FOLDER    # what make.py has written; some seconds

Twins differ in their seed alone; the others are at half the learning rate, or have a broken teacher. Each is compared
with the plain runs of its recipe. All were read on one set of 64 synthetic utterances, every ten steps.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

_BENCHMARKS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_BENCHMARKS), str(_BENCHMARKS.parents[1] / "examples")]

from twins.make import BROKEN, CHOSEN, HELD_OUT, MORE_CHOSEN, MORE_HELD_OUT  # noqa: E402

from rankwatch.comparison.compare_runs import compare_runs  # noqa: E402
from rankwatch.comparison.comparison_result import Comparison  # noqa: E402
from rankwatch.comparison.differences.difference import ALL_LAYERS  # noqa: E402
from rankwatch.comparison.differences.verdicts import HIGHER, LOWER  # noqa: E402
from rankwatch.comparison.records.turnovers import FASTER, SLOWER  # noqa: E402
from rankwatch.reporting.recorded.recorded_run import RecordedRun  # noqa: E402
from rankwatch.reporting.recorded.run_reader import RunReader  # noqa: E402

Pairs = Sequence[tuple[RecordedRun, RecordedRun]]


def read(file: Path) -> RecordedRun:
    """A run by its record."""
    reader = RunReader(str(file), file.stem)
    reader.update()
    return reader.run()


def row(title: str, pairs: Pairs) -> str:
    """Claims in ranks, claims of speed, pairs with any of these, and the turnovers' ratios over all layers."""
    found = [compare_runs(pair) for pair in pairs]
    ranks = [d.verdict for one in found for d in one.differences if d.place.layer != ALL_LAYERS]
    speeds = [t.verdict for one in found for t in one.turnovers if t.place.layer != ALL_LAYERS]
    ratios = [t.ratio for one in found for t in one.turnovers if t.place.layer == ALL_LAYERS]
    some = sum(any(claimed(t.verdict) for t in one.turnovers if t.place.layer != ALL_LAYERS) for one in found)
    shown = f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else "-"
    return (
        f"| {title} | {len(found)} | {_share(ranks)} | {_share(speeds)} | {some} of {len(found)} | {shown} | "
        f"{_half_width(found):.0%} |"
    )


def claimed(verdict: str) -> bool:
    """Whether two runs are called different."""
    return verdict in (HIGHER, LOWER, FASTER, SLOWER)


def _share(verdicts: Sequence[str]) -> str:
    return f"{sum(map(claimed, verdicts))} of {len(verdicts)}"


def _half_width(found: Iterable[Comparison]) -> float:
    """Median of half of the 90 % intervals of turnovers' ratios, relative."""
    known = [(t.low_90, t.high_90) for one in found for t in one.turnovers]
    return float(np.median([(high / low) ** 0.5 - 1.0 for low, high in known if low and high]))


def spread(pairs: Pairs) -> str:
    """How far logarithms of turnovers lie apart between twins: standard deviation and 95 % quantile of their size."""
    gaps = [abs(np.log(t.ratio)) for pair in pairs for t in compare_runs(pair).turnovers if t.place.layer != ALL_LAYERS]
    of_one_run = np.sqrt(np.mean(np.square(gaps)) / 2.0)
    return f"{len(gaps)} layers: {of_one_run:.3f} a run, 95 % below {np.quantile(gaps, 0.95):.3f}"


def grouped(slower: list[RecordedRun], plain: list[RecordedRun], *, same_seeds: bool) -> str:
    """Claims between seeds at half the rate and seeds at the full one."""
    if same_seeds:
        plain = [run for run in plain if run.name[-1] in {one.name[-1] for one in slower}]
    groups = {"slower": [run.name for run in slower], "plain": [run.name for run in plain]}
    found = compare_runs([*slower, *plain], groups, same_seeds=same_seeds)
    layers = [t for t in found.turnovers if t.place.layer != ALL_LAYERS]
    means = [f"{t.ratio:.2f} [{t.low:.2f}, {t.high:.2f}]" for t in found.turnovers if t.place.layer == ALL_LAYERS]
    ranks = [d.verdict for d in found.differences if d.place.layer != ALL_LAYERS]
    sides = f"{len(slower)} against {len(plain)}{' of the same seeds' if same_seeds else ''}"
    speeds = _share([t.verdict for t in layers])
    return f"{sides}: ranks {_share(ranks)}, speeds {speeds}, over all layers {', '.join(means)}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, required=True)
    options = parser.parse_args()
    runs = {file.stem: read(file) for file in sorted(options.records.glob("*.jsonl"))}

    def named(pair: tuple[str, str], variant: str) -> list[RecordedRun]:
        return [run for name, run in runs.items() if name.startswith(f"{'-'.join(pair)}-{variant}-")]

    head = ["runs", "pairs", "ranks called different", "layers called faster or slower", "pairs with any", "ratio"]
    print(f"| {' | '.join(head)} | half width |\n|{'---|' * (len(head) + 1)}")
    for title, recipes in (("chosen", CHOSEN + MORE_CHOSEN), ("held out", HELD_OUT + MORE_HELD_OUT)):
        plain = {pair: named(pair, "plain-healthy") for pair in recipes}
        twins = [pair for of_one in plain.values() for pair in itertools.combinations(of_one, 2)]
        if twins:
            print(row(f"twins, {title}", twins))
            print(f"twins, {title}: {spread(twins)}")
        for pair, of_one in plain.items():
            slower = list(itertools.product(named(pair, "half_rate-healthy"), of_one))
            if slower:
                print(row(f"half the rate, {title}: {' '.join(pair)}", slower))
            of_seeds = named(pair, "half_rate-healthy")
            if len(of_seeds) > 1:
                for same in (False, True):
                    print(f"{' '.join(pair)}, {grouped(of_seeds, of_one, same_seeds=same)}")
    for pair, way, when in BROKEN:
        broken = list(itertools.product(named(pair, f"{way}-{when}"), named(pair, "plain-healthy")))
        if broken:
            print(row(f"{way}: {' '.join(pair)}", broken))


if __name__ == "__main__":
    main()
