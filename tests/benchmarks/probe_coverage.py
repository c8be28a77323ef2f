"""How often intervals of a probe's accuracy hold its own accuracy, and that of probes trained on other samples.

    python tests/benchmarks/probe_coverage.py                # the table of docs/pages/analyze.md, 200 draws a row
    python tests/benchmarks/probe_coverage.py --draws 50 --settings phones

Made-up rows of a known population: codes of labels, of utterances and of speakers, and noise. In each draw a probe is
measured as `rankwatch analyze` does. "This probe": the accuracy, on 8,000 fresh rows, of the probe that was trained on
all rows of the draw. "The procedure": the mean over all draws of the accuracy of probes that were trained on as many
rows as those that are tested, which is what a probe trained on another sample of the same size reaches on the average.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.analysis.measures.measurement import FEWEST
from rankwatch.analysis.measures.probes.probe_scores import single_labels
from rankwatch.analysis.measures.probes.share_intervals import equal_units, share_interval
from rankwatch.numerics.similarity.similarity_result import jackknife_error

FRESH = 8_000
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """A population and the size of a sample from it.

    Attributes:
        utterances: Of a sample.
        each: Rows of an utterance.
        labels: Different labels.
        width: Columns.
        noise: Of each row, in units of the labels' codes.
        speakers: Of a sample; 0 where utterances have none, and are left out themselves.
        of_speaker: How much speakers differ in how they say each label.
        new_speakers: Whether each draw has speakers of its own, and fresh rows are other speakers'; else all are of the
            same ones.
    """

    utterances: int
    each: int
    labels: int
    width: int
    noise: float
    speakers: int = 0
    of_speaker: float = 0.0
    new_speakers: bool = True


SETTINGS = {
    "phones, 196 utterances of 10, 512 columns": Setting(196, 10, 12, 512, 3.0),
    "phones, the same, easy": Setting(196, 10, 12, 512, 1.6),
    "phones, 107 utterances of 4, 64 columns": Setting(107, 4, 12, 64, 3.5),
    "utterances, 196, 64 columns": Setting(196, 1, 4, 64, 5.0),
    "utterances, 196, 512 columns": Setting(196, 1, 4, 512, 3.5),
    "utterances, 48, 64 columns": Setting(48, 1, 3, 64, 4.0),
    "utterances, 48, 512 columns": Setting(48, 1, 3, 512, 3.0),
    "utterances, 196 of the same 8 speakers": Setting(196, 1, 4, 64, 2.0, 8, 2.0, new_speakers=False),
    "utterances, 196 by 8 speakers": Setting(196, 1, 4, 64, 2.0, 8, 2.0),
    "utterances, 196 by 28 speakers": Setting(196, 1, 4, 64, 2.0, 28, 2.0),
    "utterances, 512 by 64 speakers": Setting(512, 1, 4, 64, 2.0, 64, 2.0),
    "phones, 196 utterances of 10 of the same 8 speakers": Setting(196, 10, 12, 64, 2.0, 8, 2.0, new_speakers=False),
    "phones, 196 utterances of 10 by 8 speakers": Setting(196, 10, 12, 64, 2.0, 8, 2.0),
    "phones, 196 utterances of 10 by 28 speakers": Setting(196, 10, 12, 64, 2.0, 28, 2.0),
}


class Population:
    """What all samples of a setting have in common."""

    def __init__(self, setting: Setting) -> None:
        rng = np.random.default_rng(7)
        self.setting = setting
        self.codes = rng.standard_normal((setting.labels, setting.width)) * (20.0 / setting.width) ** 0.5
        # Directions differ in how much they vary, as those of layers do.
        self.scale = np.exp(-np.linspace(0.0, 2.0, setting.width)) * setting.width**0.5
        self.scale /= np.sqrt(np.mean(self.scale**2))
        self.ways = self._ways(rng, setting.speakers)

    def _ways(self, rng: np.random.Generator, speakers: int) -> Array:
        """How each speaker says each label, beside what all have in common."""
        s = self.setting
        return s.of_speaker * rng.standard_normal((speakers, s.labels, s.width)) * (20.0 / s.width) ** 0.5

    def sample(self, seed: int, utterances: int | None = None) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
        """Rows, their labels, and the group that is left out together with each; fresh rows where a number is given."""
        s, rng = self.setting, np.random.default_rng(seed)
        count = utterances or s.utterances
        of_row = np.repeat(np.arange(count), s.each)
        labels = rng.integers(0, s.labels, len(of_row))
        x = self.codes[labels] + s.noise * self.scale * rng.standard_normal((len(of_row), s.width))
        x += 0.5 * self.scale * rng.standard_normal((count, s.width))[of_row]
        if not s.speakers:
            return x, labels, of_row
        many = s.speakers if utterances is None or not s.new_speakers else count // 4
        speakers = (np.arange(count) % many)[of_row]
        x += (self._ways(rng, many) if s.new_speakers else self.ways)[speakers, labels]
        return x, labels, speakers


def fitted(x: Array, labels: NDArray[np.int64], count: int) -> tuple[Array, Array, Array, Array]:
    """Mean, scale, weights and offset of the probe that `left_out_scores` has in closed form."""
    mean, std = x.mean(axis=0), x.std(axis=0)
    z, y = (x - mean) / std, np.eye(count)[labels]
    gram = z.T @ z + z.shape[1] * np.eye(z.shape[1])
    return mean, std, np.linalg.solve(gram, z.T @ (y - y.mean(axis=0))), y.mean(axis=0)


def accuracy(probe: tuple[Array, Array, Array, Array], x: Array, labels: NDArray[np.int64]) -> float:
    """Of a probe on rows."""
    mean, std, weights, offset = probe
    return float(((((x - mean) / std) @ weights + offset).argmax(axis=1) == labels).mean())


def measured(
    x: Array, labels: NDArray[np.int64], left_out: NDArray[np.int64], units: NDArray[np.int64]
) -> tuple[float, float | None, float | None, float]:
    """Accuracy, interval over the units and standard error as `rankwatch analyze` has them."""
    names = np.char.add("l", labels.astype(str))
    counts, _ = single_labels(torch.from_numpy(x), names, left_out.astype(str), units.astype(str))
    value, without = counts.score("probe_accuracy")
    changes = list(without.values())
    return value, *share_interval(value, changes, equal_units(counts.rows), len(x)), jackknife_error(changes)


def of_procedure(
    setting: Setting, x: Array, labels: NDArray[np.int64], left_out: NDArray[np.int64], fresh: tuple[Array, ...]
) -> float:
    """What probes that are trained as those of the measurement reach on rows that none of them has seen."""
    if setting.speakers and not setting.new_speakers:  # fresh rows of a speaker, by the probe without this speaker
        parts = []
        for speaker in range(setting.speakers):
            some, there = left_out != speaker, fresh[2] == speaker
            parts.append(accuracy(fitted(x[some], labels[some], setting.labels), fresh[0][there], fresh[1][there]))
        return float(np.mean(parts))
    some = left_out != left_out[0]
    return accuracy(fitted(x[some], labels[some], setting.labels), fresh[0], fresh[1])


def table_rows(name: str, setting: Setting, draws: int) -> list[str]:
    """Lines of the table: with intervals over utterances and, where there are enough of them, over speakers."""
    population = Population(setting)
    fresh = population.sample(10**6, FRESH // setting.each)
    own, others = [], []
    found: dict[str, list[tuple[float, float | None, float | None, float]]] = {"utterances": [], "speakers": []}
    for seed in range(draws):
        x, labels, left_out = population.sample(seed)
        own.append(accuracy(fitted(x, labels, setting.labels), fresh[0], fresh[1]))
        others.append(of_procedure(setting, x, labels, left_out, fresh))
        utterances = np.repeat(np.arange(len(x) // setting.each), setting.each)
        found["utterances"].append(measured(x, labels, left_out, utterances))
        if setting.speakers >= FEWEST:
            found["speakers"].append(measured(x, labels, left_out, left_out))
    lines = []
    for over, each in found.items():
        if each:
            value, low, high, error = (np.array(part, dtype=np.float64) for part in zip(*each, strict=True))
            truth, this = float(np.mean(others)), np.array(own)
            cells = [
                name,
                over,
                f"{truth:.2f}",
                f"±{np.mean(high - low) / 2:.3f}",
                f"{np.mean((low <= this) & (this <= high)):.0%}" if setting.new_speakers else "",
                f"{np.mean((low <= truth) & (truth <= high)):.0%}",
                f"{np.mean(value) - truth:+.3f}",
                f"{np.std(others):.3f}",
                f"{np.std(value) / np.mean(error):.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--settings", default="", help="only those whose name contains this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    head = ["rows", "interval over", "accuracy", "half width", "holds this probe's", "holds the procedure's", "bias"]
    head += ["probes differ by", "spread / error"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name, setting in SETTINGS.items():
        if options.settings in name:
            print("\n".join(table_rows(name, setting, options.draws)), flush=True)


if __name__ == "__main__":
    main()
