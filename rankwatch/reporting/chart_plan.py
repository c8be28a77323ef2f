"""Which of the many possible charts are drawn, most important first, and how they are laid out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rankwatch.readings.protocol import CODEBOOK, TRAIN
from rankwatch.readings.reading import ACCURACY, LABELLED, MAJORITY
from rankwatch.readings.report import RunHeader, SummaryKey
from rankwatch.reporting.tags import RANK, STATISTICS, Tags

CHART_LIMIT = 60
TOP_LIMIT = 8
SMALL = 6  # Models with up to this many watched layers show everything about each of them.

# What alarms look at comes first, what only describes comes last; names not listed follow by name.
METRIC_ORDER = (
    RANK,
    "drift_previous",
    "drift_first",
    "mean_energy_fraction",
    "within_utterance_variance_fraction",
    "top1_explained_variance",
    "std_normalised",
    "non_finite_fraction",
    "dead_dimension_fraction",
    "participation_ratio",
    "stable_rank",
    "rankme",
)

Layout = dict[str, dict[str, list[object]]]


@dataclass(frozen=True)
class ChartPlan:
    """The charts of a run.

    Attributes:
        drawn: Tags that get a chart, most important first.
        left_out: Tags for which there was no room; their numbers are in the JSONL file only.
    """

    drawn: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def sentence(self) -> str:
        """What the reader has to know about it."""
        if not self.left_out:
            return f"All {len(self.drawn)} curves are drawn."
        some = ", ".join(self.left_out[:3])
        total = len(self.drawn) + len(self.left_out)
        return (
            f"{len(self.drawn)} of {total} curves are drawn, the most important ones; "
            f"the others ({some}, ...) are only in the JSONL file."
        )


def plan_charts(
    header: RunHeader, summary: Iterable[SummaryKey], limit: int | None = CHART_LIMIT, drawn: Sequence[str] = ()
) -> ChartPlan:
    """Fill a budget of charts in the order of their importance.

    Health, alarm level, cost, median effective ranks, codebooks; the median accuracy on a labelled set; each layer's
    effective rank on the primary source; the interval of each level's last layer; in small models the same for all
    layers and sources; other metrics over layers, worst first; then further sources layer by layer, and all intervals.

    Args:
        header: Layers, levels and sources of the run.
        summary: Keys of `Report.summary`: the metrics that there are.
        limit: Most charts drawn, or None for all.
        drawn: Tags that are drawn already; they keep their place.

    Returns:
        The tags that are drawn, and those that are not.

    Example:
        >>> from rankwatch.readings.report import LayerRow
        >>> rows = [LayerRow(f"layers.{i}", f"L{i:02}", 768, "(B, T, C)", "mask") for i in range(25)]
        >>> header = RunHeader("RankWatch", "0.1.0", rows, ["frame", "utterance"], ["first_batches"], 500)
        >>> key = SummaryKey("frame", "mean_energy_fraction", "first_batches", "worst")
        >>> len(plan_charts(header, [key]).drawn)
        60
    """
    tags = Tags.of(header)
    wanted = list(dict.fromkeys([*drawn, *_by_importance(header, tags, sorted(summary))]))
    cut = len(wanted) if limit is None else max(limit, len(drawn))
    return ChartPlan(tuple(wanted[:cut]), tuple(wanted[cut:]))


def _by_importance(header: RunHeader, tags: Tags, keys: Sequence[SummaryKey]) -> Iterator[str]:
    codebooks = any((key.level, key.metric) == (CODEBOOK, "normalized_perplexity") for key in keys)
    top = list(_top(header, tags, codebooks))
    core = (5 if len(header.sources) == 1 else 6) + codebooks
    yield from top[:core]
    yield from (tag for pair in list(_accuracies(header, tags, keys))[: len(header.levels)] for tag in pair)
    for level in header.levels:
        yield from (tags.layer(level, row.layer, tags.primary) for row in header.layers)
    for level in header.levels:
        yield from _band(tags, level, [row.layer for row in header.layers[-1:]])
    yield from top[core:TOP_LIMIT]
    yield from (tag for pair in _accuracies(header, tags, keys) for tag in pair)
    if len(header.layers) <= SMALL:
        yield from _layer_by_layer(header, tags)
    yield from _details(tags, keys, top[:TOP_LIMIT])
    yield from _layer_by_layer(header, tags)


def _top(header: RunHeader, tags: Tags, codebooks: bool) -> Iterator[str]:
    yield tags.top("health")
    yield tags.top("alarm_level")
    yield from (tags.rank(level, tags.primary) for level in header.levels)
    yield tags.top("overhead_share")
    if codebooks:
        yield tags.top(CODEBOOK)
    for source in further(header):
        yield from (tags.rank(level, source) for level in header.levels)


def _accuracies(header: RunHeader, tags: Tags, keys: Iterable[SummaryKey]) -> Iterator[tuple[str, str]]:
    """Median over layers of a labelled set's accuracy, and that of always naming the most frequent label."""
    existing = set(keys)
    for source in header.sources:
        for level in header.levels:
            accuracy, majority = (SummaryKey(level, metric, source, "median") for metric in (ACCURACY, MAJORITY))
            if accuracy in existing:
                yield tags.detail(accuracy), tags.detail(majority)


def _layer_by_layer(header: RunHeader, tags: Tags) -> Iterator[str]:
    layers = [row.layer for row in header.layers]
    for source in further(header):
        for level in header.levels:
            yield from (tags.layer(level, layer, source) for layer in layers)
    for level in header.levels:
        yield from _band(tags, level, layers)


def _band(tags: Tags, level: str, layers: Sequence[str]) -> Iterator[str]:
    for layer in layers:
        yield from (tags.layer(level, layer, tags.primary, end) for end in ("_low", "_high"))


def _details(tags: Tags, keys: Sequence[SummaryKey], top: Sequence[str]) -> Iterator[str]:
    """Tags of the summary: the primary before other sources, ``worst`` before the rest."""

    def importance(key: SummaryKey) -> tuple[bool, bool, int, int]:
        place = METRIC_ORDER.index(key.metric) if key.metric in METRIC_ORDER else len(METRIC_ORDER)
        return key.source != tags.primary, key.source == TRAIN, STATISTICS.index(key.statistic), place

    candidates = [key for key in keys if key.level != CODEBOOK and key.metric != LABELLED]
    for key in sorted(candidates, key=importance):
        if (key.metric, key.statistic) != (RANK, "median") or tags.rank(key.level, key.source) not in top:
            yield tags.detail(key)


def further(header: RunHeader) -> list[str]:
    """Sources other than the primary set: evaluation sets first, then the training pass."""
    return sorted(header.sources[1:], key=lambda source: source == TRAIN)


def custom_scalars(header: RunHeader, drawn: Sequence[str]) -> Layout:
    """The layout of TensorBoard's Custom Scalars page, from what is drawn.

    Returns:
        ``{category: {chart: ["Multiline" | "Margin", tags]}}`` for ``SummaryWriter.add_custom_scalars``.
        Tags of a Multiline chart are regular expressions, matched from their start. The overview comes
        first, then the layers on further sources, then the intervals as bands.
    """
    tags, have = Tags.of(header), set(drawn)
    layers = [row.layer for row in header.layers]
    # In one chart, so that the axis never zooms in on the health's harmless noise.
    overview = {
        "health (1 = all layers at their reference), alarm level (0 none, 1 warning, 2 critical)": [
            tags.top("health"),
            tags.top("alarm_level"),
        ]
    }
    sides = {}
    bands: dict[str, list[object]] = {}
    for level in header.levels:
        of = f"effective rank, {level} level"
        overview[f"{of}, all layers"] = [tags.layer(level, layer, tags.primary) for layer in layers]
        sources = [tag for source in header.sources if (tag := tags.rank(level, source)) in have]
        if len(sources) > 1:
            overview[f"{of}, median over layers, by source"] = sources
        for source in header.sources:
            pair = [tags.detail(SummaryKey(level, metric, source, "median")) for metric in (ACCURACY, MAJORITY)]
            overview[f"probe accuracy and majority, {level} level, median over layers, on {source}"] = pair
        for source in further(header):
            sides[f"{of}, all layers, on {source}"] = [tags.layer(level, layer, source) for layer in layers]
        for row in header.layers:
            trio = [tags.layer(level, row.layer, tags.primary, end) for end in ("", "_low", "_high")]
            if have.issuperset(trio):
                bands[f"{row.label}, {level} level"] = ["Margin", trio]
    overview["codes that a quantizer uses (perplexity / codes, the least of all)"] = [tags.top(CODEBOOK)]
    overview["share of the run's time taken by the callback"] = [tags.top("overhead_share")]
    layout = {
        f"{header.name}: is all well?": _multilines(overview, have),
        f"{header.name}: further sources": _multilines(sides, have),
        f"{header.name}: effective rank with its 90 % interval": bands,
    }
    return {category: charts for category, charts in layout.items() if charts}


def _multilines(charts: dict[str, list[str]], have: set[str]) -> dict[str, list[object]]:
    shown = {title: [f"^{re.escape(tag)}$" for tag in tags if tag in have] for title, tags in charts.items()}
    return {title: ["Multiline", tags] for title, tags in shown.items() if tags}
