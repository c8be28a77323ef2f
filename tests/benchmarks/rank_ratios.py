"""Coverage and width of the ratio of two effective ranks of the same utterances, on populations that are known.

python tests/benchmarks/rank_ratios.py              # the table of docs/pages/compare.md, about ten minutes
python tests/benchmarks/rank_ratios.py --trials 40  # a rough one
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rankwatch.metrics import estimate_rank
from rankwatch.numerics.metrics.rank_definitions import effective_rank
from rankwatch.numerics.rank.paired_ratio import rank_ratio


@dataclass(frozen=True)
class Case:
    """Two models of which each sees the same latent rows in its own way.

    Attributes:
        name: What it stands for.
        d: Columns.
        utterances: How many.
        frames: Rows of each.
        exponents: Spectra sigma^2 = i^-e of the two.
        shared: Correlation of what the two see; 1 for the same rows.
        turn: ``"none"``, ``"random"`` (rotated) or ``"reversed"`` (large directions of one are the other's small ones).
        within: Share of the variance that rows of one utterance share.
        unlike: The same of the second model, where it is another; None where it is equal.
        tails: Degrees of freedom of a scale that an utterance's rows have in common in both models; 0 for none.
    """

    name: str
    d: int
    utterances: int
    frames: int
    exponents: tuple[float, float]
    shared: float
    turn: str = "none"
    within: float = 0.0
    tails: int = 0
    unlike: float | None = None


CASES = (
    Case("the same rows", 96, 64, 4, (1.0, 1.0), 1.0),
    Case("the same rows, other directions large", 96, 64, 4, (1.0, 1.0), 1.0, "random"),
    Case("neighbouring checkpoints", 96, 64, 4, (1.0, 1.02), 0.99, within=0.3),
    Case("twins", 96, 64, 4, (1.0, 1.0), 0.8, within=0.3),
    Case("twins, unlike", 96, 64, 4, (1.0, 1.0), 0.4, within=0.3),
    Case("nothing shared", 96, 64, 4, (1.0, 1.0), 0.0, within=0.3),
    Case("steep against flat", 96, 64, 4, (2.0, 0.5), 0.9, "none", within=0.3),
    Case("large against small directions", 96, 64, 4, (1.5, 1.5), 1.0, "reversed"),
    Case("twins, more utterances", 96, 256, 4, (1.0, 1.0), 0.8, within=0.3),
    Case("twins, 24 utterances", 96, 24, 8, (1.0, 1.0), 0.8, within=0.3),
    Case("one model knows the speaker", 96, 64, 8, (1.0, 1.0), 0.8, within=0.1, unlike=0.6),
    Case("twins, heavy tails", 96, 64, 4, (1.0, 1.0), 0.8, within=0.3, tails=5),
    Case("checkpoints, heavy tails", 96, 128, 4, (1.0, 1.1), 0.97, tails=5),
    Case("utterance means", 96, 64, 1, (1.0, 1.1), 0.8),
    Case("utterance means, more", 96, 256, 1, (1.0, 1.1), 0.8),
    Case("wide layers, fewer rows", 384, 64, 4, (1.0, 1.0), 0.8, within=0.3),
    Case("wide layers", 384, 256, 4, (1.0, 1.1), 0.9, within=0.3),
    Case("wide layers, utterance means", 384, 256, 1, (1.5, 1.5), 0.8),
)


def rows(case: Case, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(n, d) rows of both models."""
    n, d = case.utterances * case.frames, case.d
    own = _twice(rng.standard_normal((2, n, d)), case.shared)
    common = [
        np.repeat(one, case.frames, axis=0) for one in _twice(rng.standard_normal((2, case.utterances, d)), case.shared)
    ]
    within = case.within, case.within if case.unlike is None else case.unlike
    first, second = (math.sqrt(1.0 - w) * x + math.sqrt(w) * u for w, x, u in zip(within, own, common, strict=True))
    if case.turn == "random":
        second = second @ np.linalg.qr(np.random.default_rng(7).standard_normal((d, d)))[0]
    elif case.turn == "reversed":
        second = second[:, ::-1]
    if case.tails:
        scale = np.sqrt(case.tails / rng.chisquare(case.tails, case.utterances))
        first, second = (x * np.repeat(scale, case.frames)[:, None] for x in (first, second))
    one, other = (np.arange(1, d + 1) ** (-0.5 * e) for e in case.exponents)
    return first * one, second * other


def _twice(z: np.ndarray, shared: float) -> tuple[np.ndarray, np.ndarray]:
    """The first, and one that is correlated with it."""
    return z[0], shared * z[0] + math.sqrt(1.0 - shared**2) * z[1]


def truth(case: Case) -> float:
    """The ratio in the population."""
    one, other = (effective_rank(np.arange(1, case.d + 1) ** (-0.5 * e)) for e in case.exponents)
    return one / other


def trials(case: Case, count: int) -> Iterator[tuple[float, ...]]:
    """Of each trial both logarithms, their correlation as found, and half of the intervals: paired, apart, 99.5 %."""
    groups = np.repeat(np.arange(case.utterances), case.frames)
    for seed in range(count):
        x, y = rows(case, np.random.default_rng(seed))
        a, b = (estimate_rank(one, groups=groups) for one in (x, y))
        found = rank_ratio(a, b)
        apart = math.hypot(*(0.5 * math.log(one.high / one.low) for one in (a, b)))
        half = math.nan if found.low is None else 0.5 * math.log(found.high / found.low)
        correlation = math.nan if found.correlation is None else found.correlation
        most = rank_ratio(a, b, confidence=0.995)
        widest = math.nan if most.low is None else 0.5 * math.log(most.high / most.low)
        yield math.log(a.value), math.log(b.value), correlation, half, apart, widest


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    head = ["population", "d", "utterances x rows", "covered by 90 %", "of the two apart", "by 99.5 %", "half width"]
    head += ["apart", "error", "correlation: true", "found"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for case in CASES:
        if options.only in case.name:
            cells = [case.name, str(case.d), f"{case.utterances} x {case.frames}", *counted(case, options.trials)]
            print(f"| {' | '.join(cells)} |", flush=True)


def counted(case: Case, count: int) -> list[str]:
    """One row of the table."""
    found = np.array(list(trials(case, count)))
    known = found[np.isfinite(found[:, 3])]
    if not len(known):
        return ["not known"]
    error = known[:, 0] - known[:, 1] - math.log(truth(case))
    covered = [float(np.mean(np.abs(error) <= known[:, column])) for column in (3, 4, 5)]
    true = float(np.corrcoef(known[:, 0], known[:, 1])[0, 1])
    cells = [f"{covered[0]:.0%}", f"{covered[1]:.0%}", f"{covered[2]:.1%}"]
    cells += [f"{known[:, column].mean():.2%}" for column in (3, 4)]
    return [*cells, f"{error.mean():+.2%} ± {error.std():.2%}", f"{true:.2f}", f"{known[:, 2].mean():.2f}"]


if __name__ == "__main__":
    main()
