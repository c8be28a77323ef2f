"""Which runs there are, and in which order: whatever has been made so far is balanced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

from zoo_of_encoders.split import ALL_NEW, ARCHITECTURES, CHOSEN, HALF_NEW, METHODS, PARTS, part_of

STEPS, LONG = 300, 5000
SEEDS = (0, 1, 2, 3)

HEALTHY: dict[str, dict[str, Any]] = {
    "low_rate": {"rate": 3e-4},
    "high_rate": {"rate": 2e-3},
    "narrow": {"width": 64},
    "wide": {"width": 144},
    "small_batch": {"batch": 6},
    "bfloat16": {"precision": "bf16-mixed"},
    "slow_warm_up": {"warm_up": 0.5},
    "constant_rate": {"schedule": "constant"},
    "restarts": {"schedule": "restarts"},
    "resumed": {"resumed": (150,)},
    "other_data": {"then": "other"},
    "real_then_digits": {"corpus": "real", "then": "digits"},
}
"""Nothing is wrong with these."""

LONG_HEALTHY: dict[str, dict[str, Any]] = {
    "long": {},
    "long_restarts": {"schedule": "restarts"},
    "long_to_zero": {"schedule": "to_zero"},
    "long_other_data": {"then": "other"},
    "long_resumed": {"resumed": (1250, 3333)},
    "long_real": {"corpus": "real"},
}

TEACHER = ("data2vec", "byol", "jepa")
TARGETS = tuple(method for method in METHODS if method != "cpc")
MASKED = ("hubert", "data2vec", "wav2vec2", "bestrq", "jepa", "mae")
TERM = ("vicreg", "wav2vec2", "barlow")
ATTENTION = ("mel_transformer", "conformer", "raw_waveform", "patches")
NORMS = ("mel_transformer", "conformer", "raw_waveform", "patches", "gru")

BREAKS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    # Way of breaking: methods and architectures that it is possible with, and when.
    "no_stop_gradient": (TEACHER, ARCHITECTURES, "start"),
    "fast_teacher": (TEACHER, ARCHITECTURES, "middle"),
    "decay_drifts": (TEACHER, ARCHITECTURES, "middle"),
    "teacher_lost": (TEACHER, ARCHITECTURES, "middle"),
    "no_predictor": (("byol",), ARCHITECTURES, "start"),
    "no_term": (TERM, ARCHITECTURES, "start"),
    "term_fades": (TERM, ARCHITECTURES, "middle"),
    "one_cluster": (("hubert", "bestrq"), ARCHITECTURES, "middle"),
    "no_mask": (MASKED, ARCHITECTURES, "middle"),
    "sees_future": (("cpc",), tuple(a for a in ARCHITECTURES if a != "gru"), "start"),
    "shuffled_targets": (METHODS, ARCHITECTURES, "middle"),
    "rate_x20": (METHODS, ARCHITECTURES, "middle"),
    "rate_grows": (METHODS, ARCHITECTURES, "middle"),
    "decay_x1000": (METHODS, ARCHITECTURES, "middle"),
    "decay_on_norms": (METHODS, NORMS, "middle"),
    "clipped": (METHODS, ARCHITECTURES, "start"),
    "clipped_later": (METHODS, ARCHITECTURES, "middle"),
    "state_lost": (METHODS, ARCHITECTURES, "middle"),
    "fp16_overflow": (METHODS, ARCHITECTURES, "middle"),
    "dead_layer": (METHODS, ARCHITECTURES, "middle"),
    "gain_to_zero": (METHODS, NORMS, "middle"),
    "half_dims_die": (METHODS, ARCHITECTURES, "middle"),
    "mean_drifts": (METHODS, ARCHITECTURES, "middle"),
    "residual_grows": (METHODS, tuple(a for a in ARCHITECTURES if a != "gru"), "middle"),
    "attention_overflows": (METHODS, ATTENTION, "middle"),
    "same_batch": (METHODS, ARCHITECTURES, "start"),
    "same_batch_later": (METHODS, ARCHITECTURES, "middle"),
    "one_utterance": (METHODS, ARCHITECTURES, "middle"),
    "silence": (METHODS, ARCHITECTURES, "middle"),
    "zeros": (METHODS, ARCHITECTURES, "middle"),
    "int16": (METHODS, ARCHITECTURES, "middle"),
    "wrong_rate": (METHODS, ARCHITECTURES, "middle"),
    "nan": (METHODS, ARCHITECTURES, "middle"),
}
LONG_BREAKS = ("rate_grows", "term_fades", "half_dims_die", "decay_drifts", "mean_drifts", "same_batch_later")
"""These take a thousand steps in a long run what takes a hundred in a short one."""


@dataclass(frozen=True)
class Run:
    """One run of the zoo.

    Attributes:
        architecture: Which encoder.
        method: Which loss.
        seed: Of everything.
        variant: Name of the healthy variant, or of the way of breaking.
        when: ``"healthy"``, ``"start"`` or ``"middle"``.
        steps: Optimiser steps.
        every: Steps between readings.
        rate: Peak learning rate.
        warm_up: Share of the run in which it rises.
        schedule: ``"cosine"`` (to a tenth), ``"to_zero"``, ``"constant"`` or ``"restarts"`` (three cosines).
        width: Of the blocks.
        batch: Utterances in a step.
        precision: ``"32-true"`` or ``"bf16-mixed"``.
        corpus: What is trained on.
        then: What is trained on from the middle of the run, or empty.
        resumed: Steps after which everything is saved, thrown away and loaded.
    """

    architecture: str
    method: str
    seed: int
    variant: str = "plain"
    when: str = "healthy"
    steps: int = STEPS
    every: int = 10
    rate: float = 1e-3
    warm_up: float = 0.1
    schedule: str = "cosine"
    width: int = 96
    batch: int = 12
    precision: str = "32-true"
    corpus: str = "spoken"
    then: str = ""
    resumed: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Also the file's name."""
        return f"{self.architecture}-{self.method}-{self.variant}-{self.when}-{self.seed}"

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.when == "healthy"

    @property
    def long(self) -> bool:
        """Whether it is of real length."""
        return self.steps > STEPS

    @property
    def switch(self) -> int:
        """Optimiser steps after which it is broken."""
        return {"start": 0, "middle": self.steps // 3}.get(self.when, self.steps + 1)

    @property
    def part(self) -> str:
        """See `split.part_of`."""
        return part_of(self.architecture, self.method)

    @property
    def twins(self) -> tuple[str, ...]:
        """Names of the healthy runs on the same corpus that it is compared with, itself left out."""
        seeds = (self.seed, *(seed for seed in SEEDS if seed != self.seed))
        variants = [f"plain-healthy-{seed}" for seed in seeds]
        if self.long:
            variants = [f"{name}-healthy-{self.seed}" for name, how in LONG_HEALTHY.items() if "corpus" not in how]
        names = [f"{self.architecture}-{self.method}-{variant}" for variant in variants]
        return tuple(name for name in names if name != self.name)


def catalogue() -> list[Run]:
    """All runs in the order in which they are to be made."""
    pairs = _spread()
    plain = [[Run(a, m, seed) for a, m in pairs] for seed in SEEDS]
    healthy = list(_variants(pairs))
    broken = list(_broken())
    long = list(_long())
    # The first seed of all; then the next seeds, broken and other healthy ones in turn; a long one now and then.
    real = [Run(a, m, 0, "real", corpus="real") for a, m in pairs]
    rest = _shuffle([*plain[1], *plain[2], *plain[3]], broken, [*healthy[:39], *real, *healthy[39:]])
    for place, run in zip(range(12, 10**6, max(1, len(rest) // len(long))), long, strict=False):
        rest.insert(min(place, len(rest)), run)
    return [*plain[0], *rest, *(run for run in long if run not in rest)]


def _spread() -> list[tuple[str, str]]:
    """All pairs, so that any six neighbours are of six architectures and of as many methods."""
    n = len(METHODS)
    return [(a, METHODS[(i + 7 * j) % n]) for i in range(n) for j, a in enumerate(ARCHITECTURES)]


def _variants(pairs: list[tuple[str, str]]) -> Iterator[Run]:
    """Each variant with two pairs of each part."""
    by_part = {part: [pair for pair in pairs if part_of(*pair) == part] for part in PARTS}
    count = dict.fromkeys(PARTS, 0)
    for round_ in range(2):
        for name, settings in HEALTHY.items():
            for part in PARTS:
                a, m = by_part[part][count[part] % len(by_part[part])]
                count[part] += 5  # coprime to 12, 18 and 36 - 5 = 31, so that all pairs come
                yield Run(a, m, 4 + round_, name, **settings)


def _broken() -> Iterator[Run]:
    """Each way with a pair of each part for each seed; of the possible pairs the one that was used least."""
    used: Counter[str] = Counter()
    for seed in SEEDS:
        for way, (methods, architectures, when) in BREAKS.items():
            for part in (CHOSEN, ALL_NEW, HALF_NEW):
                possible = [(a, m) for a in architectures for m in methods if part_of(a, m) == part]
                if possible and (seed < 3 or part != HALF_NEW):
                    # A pair twice in one way only where there is no other; then the rarest method and architecture.
                    a, m = min(possible, key=lambda p: (used[f"{way} {p}"], used[p[1]], used[p[0]], used[str(p)]))
                    used.update((f"{way} {(a, m)}", a, m, str((a, m))))
                    yield Run(a, m, seed, way, when)


def _long() -> Iterator[Run]:
    """Real lengths: 5,000 steps, a reading each 12; each variant on three pairs, each break on a pair that is there."""
    runs: list[Run] = []
    for i, name in enumerate(3 * tuple(LONG_HEALTHY)):
        a, m = ARCHITECTURES[(i + i // 6) % 6], METHODS[(3 * i + i // 6) % len(METHODS)]
        runs.append(Run(a, m, 8, name, steps=LONG, every=12, warm_up=0.05, **LONG_HEALTHY[name]))
        if i % 3 == 2:
            yield from runs[-3:]
            way = LONG_BREAKS[i // 3]
            pairs = [(r.architecture, r.method) for r in runs if r.corpus == "spoken"]
            possible = [(a, m) for a, m in pairs if m in BREAKS[way][0] and a in BREAKS[way][1]] or pairs
            a, m = possible[(5 * i) % len(possible)]
            yield Run(a, m, 8, way, "middle", steps=LONG, every=12, warm_up=0.05)


def _shuffle(*columns: list[Run]) -> list[Run]:
    """Merge lists so that each is used up evenly."""
    longest = max(len(column) for column in columns)
    rows: list[list[Run]] = [[] for _ in range(longest)]
    for column in columns:
        for i, run in enumerate(column):
            rows[i * longest // len(column)].append(run)
    return [run for run in chain.from_iterable(zip_longest(*zip_longest(*rows))) if run is not None]
