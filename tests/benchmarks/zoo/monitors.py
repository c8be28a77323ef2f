"""What finds a collapse: ours, replayed on a history, and what people use today, on the same steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from record import History

from rankwatch.alarms.alarm_state import AlarmState
from rankwatch.alarms.detectors import Detector
from rankwatch.readings.alarm import Alarm
from rankwatch.readings.codebook_reading import CodebookReading
from rankwatch.readings.protocol import Protocol

RANKME_THRESHOLD = 0.5
"""Share of the width below which plain train-mode RankMe is alarming: half, as nothing better is known beforehand."""

CODES = 64
"""Codes in each group of the zoo's wav2vec 2.0."""


@dataclass(frozen=True)
class Found:
    """What a monitor said.

    Attributes:
        critical: Steps at which it would have stopped the run.
        warnings: Steps of its warnings.
        alarms: All that was raised, ours only.
        healthy: Steps of readings in which nothing was found: a checkpoint of then is kept; ours only.
    """

    critical: tuple[int, ...]
    warnings: tuple[int, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    healthy: tuple[int, ...] = ()


def ours(history: History, detectors: Sequence[Detector] | None = None) -> Found:
    """Judge all readings in order, as a run does."""
    state = AlarmState("first_batches", detectors)
    raised: list[Alarm] = []
    healthy = []
    for step, readings in history.readings.by_step.items():
        found = state.assess(step, readings, rate_at(history, step), codebooks=codebook(history, step))
        raised += [alarm for alarm in found.raised if alarm.kind != "plateau"]
        healthy += [step] if found.healthy else []
    told = {severity: tuple(a.step for a in raised if a.severity == severity) for severity in ("critical", "warning")}
    return Found(told["critical"], told["warning"], tuple(raised), tuple(healthy))


def rate_at(history: History, step: int) -> float:
    """Learning rate at the step; the first reading, before the first fact, is in the linear warm-up."""
    fact = next(fact for fact in history.facts if fact["step"] >= step)
    return float(fact["rate"] * step / fact["step"])


def codebook(history: History, step: int) -> list[CodebookReading]:
    """A reading of the codebook, where there is one: the perplexity that the quantiser gave in the training pass."""
    fact = next((fact for fact in history.facts if fact["step"] == step), {})
    share = fact.get("perplexity")
    if share is None:
        return []
    protocol = Protocol("train", "codebook", 0, 0, CODES, None, mode="train", power="perplexity")
    return [
        CodebookReading(
            step, "train", "quantizer", share * CODES, CODES, 0, math.nan, math.nan, frozenset(), protocol=protocol
        )
    ]


def early_stopping(history: History, patience: int = 3) -> Found:
    """Lightning's `EarlyStopping` on the training loss, with its defaults, asked at each reading.

    It stops when the loss hasn't improved for `patience` times, or isn't finite.
    """
    best, waited = math.inf, 0
    for fact in history.facts:
        loss = fact["loss"]
        if loss is None or not math.isfinite(loss):
            return Found((fact["step"],))
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited >= patience:
            return Found((fact["step"],))
    return Found(())


def std_guard(history: History) -> Found:
    """data2vec's own: standard deviation of targets below 0.1 or of predictions below 0.01; regressions only."""
    if history.run.method not in ("data2vec", "vicreg"):
        return Found(())
    return _first(history, lambda f: _below(f["target_std"], 0.1) or _below(f["prediction_std"], 0.01))


def std_normalised(history: History) -> Found:
    """Standard deviation of the last layer's normalised frames in train mode below half of 1 / sqrt(d)."""
    return _first(history, lambda f: _below(f["std_normalised"], 0.5))


def plain_rankme(history: History, threshold: float = RANKME_THRESHOLD) -> Found:
    """RankMe of the last layer's frames of one training batch, as it is, below a fixed share of the width."""
    return _first(history, lambda f: _below(f["rankme"], threshold * history.run.width))


def _below(value: float | None, threshold: float) -> bool:
    return value is not None and value < threshold  # NaN is no number in a history, and compares as data2vec's does


def _first(history: History, alarming: Callable[[dict[str, float]], bool]) -> Found:
    """Each alarm after the learning rate's warm-up; before it these monitors aren't asked, as in data2vec."""
    start = history.run.warm_up * history.run.steps
    return Found(tuple(fact["step"] for fact in history.facts if fact["step"] > start and alarming(fact)))
