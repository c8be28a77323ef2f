"""Which runs there are: healthy ones of many kinds, and each way of breaking with two methods or seeds at least."""

from __future__ import annotations

from dataclasses import dataclass

STEPS = 300
FIRST = ("hubert", "data2vec", "wav2vec2")
PARTS = (
    "that thresholds were chosen on",
    "held out from that",
    "trained when these had been looked at, and looked at before the last change",
    "looked at once, after the last change",
)
"""Thresholds were chosen on seeds 0 and 1 of these methods; the rest of seeds 0 to 3 was held out; so were seeds 4 and
5, whose broken runs prompted a change to detectors; seeds 6 and 7 were trained after it, and looked at once, when a
review had prompted the last one."""

HEALTHY = {
    "plain": {},
    "low_rate": {"rate": 3e-4},
    "high_rate": {"rate": 2e-3},
    "narrow": {"width": 64},
    "wide": {"width": 160},
    "small_batch": {"batch": 6},
    "bfloat16": {"precision": "bf16-mixed"},
    "slow_warm_up": {"warm_up": 0.5},
    "generated": {"corpus": "generated"},
    "other_data": {"then": "digits"},
}
ALL = ("hubert", "data2vec", "wav2vec2", "bestrq", "vicreg")
# Way of breaking: methods, and whether from the start, in the middle, or both.
BROKEN: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "no_stop_gradient": (("data2vec",), ("start", "middle")),
    "fast_teacher": (("data2vec",), ("start", "middle")),
    "rate_x20": (ALL, ("middle",)),
    "decay_x1000": (ALL, ("middle",)),
    "no_variance": (("vicreg",), ("start", "middle")),
    "no_diversity": (("wav2vec2",), ("start", "middle")),
    "one_cluster": (("hubert", "bestrq"), ("start", "middle")),
    "dead_layer": (("hubert", "data2vec", "wav2vec2", "vicreg"), ("middle",)),
    "gain_to_zero": (("hubert", "data2vec", "bestrq", "vicreg"), ("middle",)),
    "fp16_overflow": (("hubert", "data2vec", "bestrq"), ("middle",)),
    "nan": (("wav2vec2", "data2vec", "vicreg"), ("middle",)),
    "silence": (("hubert", "data2vec", "wav2vec2", "vicreg"), ("middle",)),
    "one_utterance": (("hubert", "data2vec", "bestrq", "vicreg"), ("middle",)),
    "no_mask": (("hubert", "data2vec", "wav2vec2", "bestrq"), ("middle",)),
}
# Where broken from the start is another thing than broken later, one of each.
FROM_START = {
    "rate_x20": ("hubert", "data2vec", "bestrq"),
    "decay_x1000": ("data2vec", "vicreg"),
    "silence": ("data2vec",),
    "one_utterance": ("hubert", "vicreg"),
    "no_mask": ("bestrq",),
}


@dataclass(frozen=True)
class Run:
    """One run of the zoo.

    Attributes:
        method: Which model.
        seed: Of everything.
        variant: Name of the healthy variant, or of the way of breaking.
        when: ``"healthy"``, ``"start"`` or ``"middle"``.
        steps: Optimiser steps.
        rate: Peak learning rate.
        warm_up: Share of the run in which it rises.
        width: Of the transformer.
        batch: Utterances in a step.
        precision: ``"32-true"`` or ``"bf16-mixed"``.
        corpus: What is trained on.
        then: What is trained on from the middle of the run, or empty.
    """

    method: str
    seed: int
    variant: str
    when: str = "healthy"
    steps: int = STEPS
    rate: float = 1e-3
    warm_up: float = 0.1
    width: int = 96
    batch: int = 12
    precision: str = "32-true"
    corpus: str = "real"
    then: str = ""

    @property
    def name(self) -> str:
        """Also the file's name."""
        return f"{self.method}-{self.variant}-{self.when}-{self.seed}"

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.when == "healthy"

    @property
    def switch(self) -> int:
        """Optimiser steps after which it is broken."""
        return {"start": 0, "middle": self.steps // 3}.get(self.when, self.steps + 1)

    @property
    def part(self) -> str:
        """What it was used for; see `PARTS`."""
        if self.seed < 4:
            return PARTS[0 if self.method in FIRST and self.seed < 2 else 1]
        return PARTS[min(self.seed // 2, 3)]

    @property
    def twin(self) -> str:
        """The healthy run that it is compared with."""
        return f"{self.method}-plain-healthy-{self.seed}"


def catalogue() -> list[Run]:
    """All runs, each a method's plain one before those that are compared with it."""
    broken = [(way, method, when) for way, (methods, times) in BROKEN.items() for when in times for method in methods]
    broken += [(way, method, "start") for way, methods in FROM_START.items() for method in methods]
    runs = []
    for even in (0, 2, 4, 6):
        runs += [Run(method, seed, "plain") for seed in (even, even + 1) for method in ALL]
        changed = [name for name in HEALTHY if name != "plain"]
        for i, name in enumerate(changed):
            runs += [Run(method, even + (j + i) % 2, name, **HEALTHY[name]) for j, method in enumerate(ALL)]
        runs += [Run(method, even, way, when) for way, method, when in broken if even or (way, when) not in _ONCE]
    return runs + [Run(method, 1, way, when) for way, method, when in broken]


_ONCE = {(way, "start") for way in FROM_START}
