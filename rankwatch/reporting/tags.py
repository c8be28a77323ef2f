"""The one place that knows a tag's name, and which number of a report belongs under it.

=============================================  =====================================================
``RankWatch/health``                           the worst layer relative to its own reference, in [0, 1]
``RankWatch/alarm_level``                      0 nothing, 1 warning, 2 critical
``RankWatch/effective_rank_frame``             median over layers; ``_utterance``; ``@name`` for further sets
``RankWatch/overhead_share``                   the callback's part of the run's wall time, in [0, 1]
``RankWatch/codebook``                         perplexity as a share of the codes, of the quantizer with the least
``RankWatch_frame/L07``                        effective rank of one layer; ``L00`` is the front end
``RankWatch_frame/L07_low``, ``..._high``      its interval
``RankWatch_frame/L07@name``                   the same layer on a further evaluation set, ``@train`` in training
``RankWatch_detail/mean_energy_fraction_frame_worst``    any metric over layers: ``min``, ``median``, ``worst``
``..._detail/drift_previous_frame_worst``        how far layers have moved since the full reading before; ``first``:
                                               since the first one after the warm-up
``..._detail/probe_accuracy_frame_median``     a linear probe's accuracy on a labelled set, over layers
``RankWatch/heatmap_frame``, ``spectra_...``   pictures; those of the second level are
                                               ``RankWatch_utterance/heatmap`` and ``.../spectra``
``RankWatch_layers/probe_accuracy_phone``      of `rankwatch analyze`: a measure over the layers of a trained model,
                                               whose number is the step; ``..._low`` and ``..._high``: its interval
``RankWatch/alarms``, ``layers``, ...          texts
=============================================  =====================================================

With another callback name that name stands for ``RankWatch``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rankwatch.readings.protocol import CODEBOOK, TRAIN
from rankwatch.readings.report import Report, RunHeader, SummaryKey

RANK = "effective_rank"
STATISTICS = ("worst", "median", "min")


@dataclass(frozen=True)
class Tags:
    """All names of one callback.

    Attributes:
        name: The callback's name.
        primary: The source whose numbers carry no ``@``; the training pass always carries one.
        first_level: The level whose pictures stand in the first group.
        labels: Short names of layers (``"L07"``) by their path.

    Example:
        >>> tags = Tags("RankWatch", "first_batches", labels={"encoder.layers.6": "L07"})
        >>> tags.layer("frame", "encoder.layers.6", "first_batches"), tags.rank("utterance", "music")
        ('RankWatch_frame/L07', 'RankWatch/effective_rank_utterance@music')
    """

    name: str = "RankWatch"
    primary: str = ""
    first_level: str = "frame"
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, header: RunHeader) -> Tags:
        """The names of the run that `header` describes."""
        primary = header.sources[0] if header.sources else ""
        labels = {row.layer: row.label for row in header.layers}
        return cls(header.name, primary, header.levels[0], labels)

    def top(self, what: str) -> str:
        """A chart, picture or text of the first group."""
        return f"{self.name}/{what}"

    def rank(self, level: str, source: str) -> str:
        """Median effective rank over layers."""
        return self.top(f"{RANK}_{level}{self.at(source)}")

    def layer(self, level: str, layer: str, source: str, end: str = "") -> str:
        """Effective rank of one layer; with `end` ``"_low"`` or ``"_high"`` of its interval."""
        return f"{self.name}_{level}/{self.labels.get(layer, layer)}{end}{self.at(source)}"

    def detail(self, key: SummaryKey) -> str:
        """A statistic over layers of any metric."""
        return f"{self.name}_detail/{key.metric}_{key.level}_{key.statistic}{self.at(key.source)}"

    def picture(self, what: str, level: str) -> str:
        """A picture of one level."""
        return self.top(f"{what}_{level}") if level == self.first_level else f"{self.name}_{level}/{what}"

    def profile(self, what: str, end: str = "") -> str:
        """A measure over the layers of a trained model; with `end` ``"_low"`` or ``"_high"`` of its interval."""
        return f"{self.name}_layers/{what}{end}"

    def extra(self, what: str) -> str:
        """Anything that a report carries in `Report.extra`."""
        return f"{self.name}_detail/{what}"

    def at(self, source: str) -> str:
        """The ending that tells sources apart."""
        return "" if source == self.primary and source != TRAIN else f"@{source}"


def scalars(report: Report, tags: Tags) -> dict[str, float]:
    """Every scalar of a report by its tag: flat, and all of them (`plan_charts` chooses).

    An effective rank that doesn't exist is there as NaN, an interval that doesn't exist is absent. Of codebooks there
    is one scalar: the JSONL file and the text of the latest readings have each quantizer.

    Returns:
        Values by tag.
    """
    values = {
        tags.top("health"): report.health,
        tags.top("alarm_level"): float(report.alarm_level),
        tags.top("overhead_share"): report.cost.share,
    }
    for reading in report.readings:
        where = (reading.level, reading.layer, reading.source)
        values[tags.layer(*where)] = reading.effective_rank
        if reading.effective_rank_low is not None and reading.effective_rank_high is not None:
            values[tags.layer(*where, "_low")] = reading.effective_rank_low
            values[tags.layer(*where, "_high")] = reading.effective_rank_high
    for key, value in report.summary.items():
        if key.level == CODEBOOK:
            shown = (key.metric, key.statistic) == ("normalized_perplexity", "worst")
            values |= {tags.top(CODEBOOK): value} if shown else {}
            continue
        values[tags.detail(key)] = value
        if (key.metric, key.statistic) == (RANK, "median"):
            values[tags.rank(key.level, key.source)] = value
    return values | {tags.extra(what): value for what, value in report.extra.items()}


def monitored_defaults(name: str, levels: Sequence[str], sources: Sequence[str]) -> dict[str, float]:
    """What Lightning's EarlyStopping and ModelCheckpoint may monitor, as it stands before any reading.

    The first source is the primary; its names carry no ``@`` here, whatever it is.

    Returns:
        Values by name: health 1, everything else 0.

    Example:
        >>> monitored_defaults("RankWatch", ["frame"], ["first_batches"])
        {'RankWatch/health': 1.0, 'RankWatch/alarm_level': 0.0, 'RankWatch/effective_rank_frame': 0.0}
    """
    ranks = {_monitored_rank(name, level, source, sources): 0.0 for source in sources for level in levels}
    return {f"{name}/health": 1.0, f"{name}/alarm_level": 0.0, **ranks}


def monitored(report: Report, name: str, levels: Sequence[str], sources: Sequence[str]) -> dict[str, float]:
    """The same names with this report's values; those it says nothing about are absent.

    A number that couldn't be computed is 0.0: a NaN would end the run through EarlyStopping's
    ``check_finite``, and infinity would look like the best checkpoint.

    Returns:
        Values by name, all finite.
    """
    values = {f"{name}/health": report.health, f"{name}/alarm_level": float(report.alarm_level)}
    for key, value in report.summary.items():
        if (key.metric, key.statistic) == (RANK, "median") and key.level in levels:
            values[_monitored_rank(name, key.level, key.source, sources)] = value
    return {tag: value if math.isfinite(value) else 0.0 for tag, value in values.items()}


def _monitored_rank(name: str, level: str, source: str, sources: Sequence[str]) -> str:
    at = "" if source == sources[0] else f"@{source}"
    return f"{name}/{RANK}_{level}{at}"
