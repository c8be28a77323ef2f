"""One number about one layer, with what it rests on; and the difference of two on the same utterances."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rankwatch.numerics import RankEstimate, Similarity
from rankwatch.numerics.similarity.similarity_result import jackknife_error

RANK = "effective_rank"
CCA = "cca_squared"
EXPLAINED = "explained"
PROBE_R2 = "probe_r2"
SIMILARITY, CKA = "similarity", "cka"
SCORES = ("probe_accuracy", "probe_macro_f1", "probe_f1")
"""What probes reach: the share of rows, the mean over labels of F1, and F1 over all pairs of row and label."""

TAG_FRAME, TAGGED_FRAME, TAG_LABEL, TAG_SPAN = "tag_frame_f1", "tagged_frame_f1", "tag_label_f1", "tag_span_f1"
"""F1 of tags that a probe tells: of frames, of frames without telling tags apart, of unordered tags, and of spans."""

SPEAKERS = "speakers"

ABX_WITHIN, ABX_ACROSS, ABX_ANY = "abx_error_within_speaker", "abx_error_across_speakers", "abx_error"
ABX = {ABX_WITHIN: "within speaker", ABX_ACROSS: "across speakers", ABX_ANY: ""}
"""Errors: how often a span is nearer to one of another label; what each is called. Less is better."""

FEWEST = 16
"""Utterances that an interval needs."""

TOO_MANY_CELLS = "too_many_cells"
"""ABX has so many pairs of labels and contexts that an interval over utterances would take minutes a layer."""


@dataclass(frozen=True)
class Measurement:
    """One measure of one layer.

    Attributes:
        model: The model's name.
        layer: The layer's short name.
        measure: What was measured, such as ``"effective_rank"`` or ``"cca_squared"``.
        target: Of what: ``"acoustics"``, a tier, a label's name, another layer; empty for the layer by itself.
        level: Of which rows: ``"frame"``, ``"utterance"`` or ``"span"``.
        group: Of whom alone, such as ``"sex=f"``; empty for all.
        value: The number; NaN where there is none.
        low: Lower end of its 90 % interval, or None where no honest one is known.
        high: Upper end, likewise.
        plain: The same of the sample as it is, as papers print it, or None.
        chance: What a layer that knows nothing would reach, or None.
        n: Rows.
        utterances: Utterances (or speakers, recordings: whatever rows are grouped by) that they come from.
        grouped_by: What these are: ``"utterances"``, ``"speakers"`` or ``"recordings"``.
        speakers: Speakers that they come from, or None where that isn't known of all.
        status: What stands against it.
        without: By how much the value changes without each group, by its name: what differences are made of.
        least_error: Standard error that it has at least, and each difference to another layer: above 0 for shares of
            right answers, which aren't exact where all are right.
    """

    model: str
    layer: str
    measure: str
    target: str
    level: str
    value: float
    low: float | None
    high: float | None
    n: int
    utterances: int
    plain: float | None = None
    chance: float | None = None
    group: str = ""
    status: tuple[str, ...] = ()
    grouped_by: str = "utterances"
    speakers: int | None = None
    without: Mapping[str, float] = field(default_factory=dict, repr=False, compare=False)
    least_error: float = field(default=0.0, repr=False, compare=False)

    @property
    def error(self) -> float | None:
        """Its standard error, or None where there are too few groups for one."""
        known = len(self.without) >= FEWEST
        return max(jackknife_error(list(self.without.values())), self.least_error) if known else None

    @property
    def rests_on(self) -> str:
        """How many rows, utterances and speakers it rests on, in words."""
        words = f"{self.n:,} rows of {self.utterances:,} {self.grouped_by}"
        return (
            words if self.speakers is None or self.grouped_by == SPEAKERS else f"{words} by {self.speakers} {SPEAKERS}"
        )

    def to_plain(self) -> dict[str, Any]:
        """Its fields as JSON can have them, without what differences are made of; NaN is None."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.repr}
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in (fields | {"status": list(self.status)}).items()
        }


def mirrored(one: Measurement) -> Measurement:
    """One minus a share, such as the share of right answers from that of errors; it is its own inverse.

    Args:
        one: A measurement of a share.

    Returns:
        The same with its interval, chance and changes turned round.
    """
    return dataclasses.replace(
        one,
        value=1.0 - one.value,
        low=None if one.high is None else 1.0 - one.high,
        high=None if one.low is None else 1.0 - one.low,
        plain=None if one.plain is None else 1.0 - one.plain,
        chance=None if one.chance is None else 1.0 - one.chance,
        without={name: -change for name, change in one.without.items()},
    )


def of_rank(found: RankEstimate, **where: Any) -> Measurement:
    """A measurement from an effective rank; `where` holds model, layer, level, utterances."""
    return Measurement(
        measure=RANK,
        target="",
        value=found.value,
        low=found.low,
        high=found.high,
        plain=found.plain,
        n=found.n,
        status=tuple(sorted(found.status)),
        **where,
    )


def of_similarity(found: Similarity, **where: Any) -> Measurement:
    """A measurement from a similarity; `where` holds model, layer, measure, target, level."""
    return Measurement(
        value=found.value,
        low=found.low,
        high=found.high,
        plain=found.plain,
        n=found.n,
        utterances=found.utterances,
        status=tuple(sorted(found.status)),
        without={str(name): change for name, change in found.without.items()},
        **where,
    )


def difference(
    one: Measurement, other: Measurement, quantile: float, factor: float = 1.0
) -> tuple[float, float | None, float | None]:
    """``one - factor * other`` with an interval from what each utterance changes in both; see `similarity_difference`.

    Args:
        one: A measurement.
        other: The same measure of the same utterances in another layer or model.
        quantile: Half width of the interval in standard errors.
        factor: What the other is multiplied by.

    Returns:
        The difference and the ends of its interval, None where they aren't known.

    Example:
        >>> change = {str(i): (-1.0) ** i * 1e-3 for i in range(20)}
        >>> parts = {"measure": "", "target": "", "level": "", "low": None, "high": None, "n": 20, "utterances": 20}
        >>> a, b = (Measurement("m", name, value=v, without=change, **parts) for name, v in (("a", 0.5), ("b", 0.4)))
        >>> difference(a, b, 1.64)
        (0.09999999999999998, 0.09999999999999998, 0.09999999999999998)
    """
    value = one.value - factor * other.value
    names = sorted(one.without.keys() & other.without.keys())
    common = len(names) >= max(FEWEST, 0.9 * max(len(one.without), len(other.without)))
    if not common or not math.isfinite(value):
        return value, None, None
    error = jackknife_error([one.without[name] - factor * other.without[name] for name in names])
    error = max(error, one.least_error, factor * other.least_error)
    return value, value - quantile * error, value + quantile * error
