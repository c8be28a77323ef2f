"""The tables of how many clips a rank needs, from what `clips.py` has stored, in seconds.

python tests/benchmarks/study/clip_tables.py
"""

from __future__ import annotations

import gzip
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

import study
from study.clips import RESULTS, SIZES, SPEECH

Array = NDArray[np.float64]
LEVELS = ("frame", "utterance")
GOALS = (0.5, 0.9), (0.1, 0.7)
"""Quantile of Spearman's, and what it is to reach."""


@dataclass(frozen=True)
class Curve:
    """The rank of a layer over checkpoints, from some clips of a kind.

    Attributes:
        draw: Which of the disjoint draws of so many clips.
        rest: Whether it is from all clips but those of the draw.
        rank: One value a checkpoint.
        half: Half of the 90 % interval of its logarithm, NaN where there is none.
    """

    draw: int
    rest: bool
    rank: Array
    half: Array


@dataclass(frozen=True)
class Layer:
    """All curves of one layer, level and kind of sound.

    Attributes:
        curves: By the number of clips.
        speech: The curve of all unseen speech.
    """

    run: str
    source: str
    level: str
    curves: dict[int, list[Curve]]
    speech: Curve

    @property
    def everything(self) -> Curve:
        """From all clips."""
        return self.curves[max(self.curves)][0]

    def drawn(self, clips: int) -> list[Curve]:
        """Disjoint draws of so many clips."""
        return [curve for curve in self.curves.get(clips, []) if not curve.rest]

    def pairs(self, clips: int) -> Iterator[tuple[Curve, Curve]]:
        """Two of them at a time."""
        return itertools.combinations(self.drawn(clips), 2)


def load(folder: Path = RESULTS) -> list[Layer]:
    """All layers of all runs that are stored."""
    found = []
    for path in sorted(folder.glob("*.jsonl.gz")):
        run, *lines = (json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines())
        layers: dict[tuple[str, str, str], dict[int, list[Curve]]] = {}
        for line in lines:
            curve = Curve(line["draw"], line["rest"], _array(line["rank"]), _array(line["half_width"]))
            layer = layers.setdefault((line["source"], line["level"], line["layer"]), {})
            layer.setdefault(line["clips"], []).append(curve)
        for (source, level, name), curves in layers.items():
            speech = layers[SPEECH, level, name]
            found.append(Layer(run["run"], source, level, curves, speech[max(speech)][0]))
    return found


def _array(values: Sequence[float | None]) -> Array:
    return np.array([np.nan if value is None else value for value in values])


def deviations(layer: Layer, clips: int) -> list[float]:
    """Per cent by which the rank from so many clips lies above that from all, draw by draw and step by step."""
    everything = layer.everything.rank
    return [float(x) for curve in layer.drawn(clips) for x in 100.0 * (curve.rank / everything - 1.0)]


def holds_everything(layer: Layer, clips: int) -> list[float]:
    """1 where the interval from so many clips holds the value from all, 0 elsewhere; left out without an interval."""
    logs = np.log(layer.everything.rank)
    return [
        float(abs(np.log(value) - log) <= half)
        for curve in layer.drawn(clips)
        for value, half, log in zip(curve.rank, curve.half, logs, strict=True)
        if np.isfinite(half)
    ]


def draws_agree(layer: Layer, clips: int) -> list[float]:
    """1 where two disjoint draws differ by no more than intervals of independent draws allow."""
    return [
        float(abs(np.log(a) - np.log(b)) <= np.hypot(half_a, half_b))
        for one, other in layer.pairs(clips)
        for a, b, half_a, half_b in zip(one.rank, other.rank, one.half, other.half, strict=True)
        if np.isfinite(half_a + half_b)
    ]


def half_widths(layer: Layer, clips: int) -> list[float]:
    """Half of the intervals, in per cent."""
    return [100.0 * float(half) for curve in layer.drawn(clips) for half in curve.half if np.isfinite(half)]


def with_speech(layer: Layer, clips: int) -> list[float]:
    """Spearman's over checkpoints with the curve of unseen speech; of speech itself with that of the other clips."""
    if layer.source == SPEECH:
        curves = layer.curves.get(clips, [])
        return [_spearman(a, b) for a, b in itertools.combinations(curves, 2) if a.draw == b.draw and a.rest != b.rest]
    return [_spearman(curve, layer.speech) for curve in layer.drawn(clips)]


def with_each_other(layer: Layer, clips: int) -> list[float]:
    """Spearman's over checkpoints of two disjoint draws of so many clips."""
    return [_spearman(one, other) for one, other in layer.pairs(clips)]


def _spearman(one: Curve, other: Curve) -> float:
    return float(spearmanr(one.rank, other.rank).statistic)


def pooled(layers: Sequence[Layer], of: Callable[[Layer, int], list[float]], clips: int) -> Array:
    """What a function says of all layers, together."""
    return np.array([value for layer in layers for value in of(layer, clips)])


def fewest(layers: Sequence[Layer], quantile: float, least: float) -> int | None:
    """How many clips it takes until disjoint draws follow each other.

    Args:
        layers: Of one kind and level.
        quantile: Of Spearman's over draws, layers and models.
        least: What it is to reach.

    Returns:
        The fewest clips from which on it does, or None where it doesn't with as many as were tried.
    """
    found = None
    for clips in SIZES:
        values = pooled(layers, with_each_other, clips)
        if len(values):
            enough = np.nanquantile(values, quantile) >= least
            found = (found or clips) if enough else None
    return found


def _cell(values: Array, quantiles: Sequence[float], form: str) -> str:
    """The median and, in brackets, further quantiles."""
    if not len(values):
        return "-"
    middle, *ends = np.nanquantile(values, (0.5, *quantiles))
    return f"{middle:{form}} ({' to '.join(f'{end:{form}}' for end in ends)})"


def _interval_row(level: str, clips: int, kinds: Sequence[Sequence[Layer]]) -> list[str]:
    widths = np.concatenate([pooled(layers, half_widths, clips) for layers in kinds])
    cells = []
    for function in (holds_everything, draws_agree):
        shares = [found for found in (pooled(layers, function, clips) for layers in kinds) if len(found)]
        lowest = min((share.mean() for share in shares), default=np.nan)
        cells.append(f"{np.concatenate(shares).mean():.2f} ({lowest:.2f})" if shares else "-")
    return [level, str(clips), f"{np.median(widths):.0f} %" if len(widths) else "none", *cells]


def _print(title: str, head: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    print(f"\n## {title}\n\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def main() -> None:
    """Print all tables."""
    layers = load()
    runs = sorted({layer.run for layer in layers})
    print(f"{len(runs)} runs: {', '.join(runs)}")
    kinds = {
        (level, source): [layer for layer in layers if (layer.source, layer.level) == (source, level)]
        for level in LEVELS
        for source in dict.fromkeys(layer.source for layer in layers)
    }
    sizes = [str(size) for size in SIZES]
    _print(
        "Per cent above the rank from all clips: median (5 to 95 % of draws, layers, checkpoints and models)",
        ["level", "sounds", *sizes],
        (
            [*kind, *(_cell(pooled(these, deviations, n), (0.05, 0.95), "+.0f") for n in SIZES)]
            for kind, these in kinds.items()
        ),
    )
    models = {
        (level, run): [one for one in layers if (one.run, one.level) == (run, level)]
        for level in LEVELS
        for run in runs
    }
    _print(
        "The same of all kinds together, by model",
        ["level", "model", *sizes],
        (
            [*model, *(_cell(pooled(these, deviations, n), (0.05, 0.95), "+.0f") for n in SIZES)]
            for model, these in models.items()
        ),
    )
    _print(
        "The stated 90 % interval: of all kinds (of the kind of which it holds least)",
        ["level", "clips", "half of it", "holds the rank from all clips", "disjoint draws differ by no more"],
        (
            _interval_row(level, n, [these for kind, these in kinds.items() if kind[0] == level])
            for level in LEVELS
            for n in SIZES
        ),
    )
    for title, function in (
        ("With the curve of unseen speech: Spearman's, median (a tenth is below)", with_speech),
        ("Two disjoint draws with each other: the same", with_each_other),
    ):
        _print(
            title,
            ["level", "sounds", *sizes, "all"],
            (
                [*kind, *(_cell(pooled(these, function, n), (0.1,), ".2f") for n in (*SIZES, max(these[0].curves)))]
                for kind, these in kinds.items()
            ),
        )
    _print(
        "Clips from which on two disjoint draws follow each other",
        ["sounds", *(f"{level} level: {how}" for level in LEVELS for how in (".9 in the median", ".7 in nine of ten"))],
        (
            [source, *(str(fewest(kinds[level, source], *goal) or "more") for level in LEVELS for goal in GOALS)]
            for source in dict.fromkeys(source for _, source in kinds)
        ),
    )


if __name__ == "__main__":
    assert study.__doc__
    main()
