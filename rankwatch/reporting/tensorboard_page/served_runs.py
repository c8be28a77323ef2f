"""Runs as TensorBoard itself serves them: from scalars and texts, where there are no records to read."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorboard.context import RequestContext
from tensorboard.data.provider import RunTagFilter

from rankwatch.readings.alarm import CRITICAL, WARNING, Alarm
from rankwatch.readings.reading import Key
from rankwatch.readings.report import LayerRow, RunEnd, RunHeader
from rankwatch.reporting.markdown_text import read_status
from rankwatch.reporting.recorded.alarm_spans import level_steps
from rankwatch.reporting.recorded.log_folder import loss_curve, training_loss_tag
from rankwatch.reporting.recorded.record_fields import MOST_CURVES, number_of, text_of
from rankwatch.reporting.recorded.recorded_run import CodebookCurve, Curve, Episode, LossCurve, RecordedRun

_POINTS = 1_000
_TEXTS = 100
_PRIMARY = "evaluation set"
_RANK = re.compile(r"(?P<layer>[^@]+?)(?P<end>_low|_high)?(?:@(?P<source>.+))?")

MISSING = (
    "There are no records (.jsonl) beside this run's event files that could be read, so this is what TensorBoard "
    "serves of them: up to 1,000 steps of each chart that was drawn. Spectra, drift, modules' names, protocol, "
    "labelled checks, seconds by part, and alarms whose text TensorBoard has dropped can't be had."
)


@dataclass(frozen=True)
class ServedRun:
    """A run of which TensorBoard has scalars of rankwatch's.

    Attributes:
        run: What TensorBoard calls it.
        callback: The callback's name.
        tags: The last step of each scalar.
    """

    run: str
    callback: str
    tags: Mapping[str, int]

    @property
    def state(self) -> str:
        """Changes whenever there is anything new."""
        return f"{len(self.tags)}.{max(self.tags.values(), default=0)}.{sum(self.tags.values())}"


class ServedData:
    """What TensorBoard's data provider says, for one request.

    Args:
        provider: A ``tensorboard.data.provider.DataProvider``, or None where there is none.
        context: The request's ``RequestContext``; an empty one where nobody has asked.
        experiment: The request's.
    """

    def __init__(self, provider: Any, context: Any = None, experiment: str = "") -> None:
        self._provider = provider
        self._about = {"experiment_id": experiment}
        self._context = RequestContext() if context is None else context
        self._scalars: dict[str, dict[str, int]] | None = None

    def scalars(self) -> dict[str, dict[str, int]]:
        """The last step of each scalar, by run and tag; empty where nothing can be had."""
        if self._scalars is None:
            listed = self._ask("list_scalars", plugin_name="scalars") or {}
            self._scalars = {
                run: {tag: int(series.max_step) for tag, series in tags.items()} for run, tags in listed.items()
            }
        return self._scalars

    def runs(self) -> list[ServedRun]:
        """Runs that rankwatch has written scalars of, one for each callback."""
        found = []
        for run, tags in self.scalars().items():
            for tag in tags:
                name, _, last = tag.rpartition("/")
                if last == "health" and name and f"{name}/alarm_level" in tags:
                    found.append(ServedRun(run, name, tags))
        return found

    def loss(self, runs: Sequence[str]) -> LossCurve | None:
        """The training loss of the first of these runs that has one."""
        for run in runs:
            tag = training_loss_tag(self.scalars().get(run, {}))
            points = self.read(run, [tag])[tag] if tag else {}
            if points:
                return loss_curve(tag, points)
        return None

    def read(self, run: str, tags: Iterable[str]) -> dict[str, dict[int, float]]:
        """Scalars by tag and step."""
        wanted = list(tags)
        found = self._ask(
            "read_scalars", plugin_name="scalars", downsample=_POINTS, run_tag_filter=self._only(run, wanted)
        )
        of_run = (found or {}).get(run, {})
        return {tag: {int(one.step): number_of(one.value) for one in of_run.get(tag, ())} for tag in wanted}

    def texts(self, run: str, tag: str) -> list[str]:
        """Texts in the order of their steps."""
        tags = [f"{tag}/text_summary", tag]  # as torch's SummaryWriter names it, and as others do
        found = self._ask("read_tensors", plugin_name="text", downsample=_TEXTS, run_tag_filter=self._only(run, tags))
        texts = []
        for one in itertools.chain.from_iterable((found or {}).get(run, {}).values()):
            for value in np.asarray(one.numpy).ravel()[:1]:
                texts.append(text_of(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)))
        return texts

    def _ask(self, question: str, **words: Any) -> Any:
        """None where the provider can't say: each has its own errors for a run that has gone, a server that is away."""
        if self._provider is None:
            return None
        try:
            return getattr(self._provider, question)(self._context, **self._about, **words)
        except Exception:
            return None

    def _only(self, run: str, tags: Sequence[str]) -> Any:
        return RunTagFilter(runs=[run], tags=tags)


def read_served(served: ServedRun, data: ServedData, name: str) -> RecordedRun:
    """A run from scalars and texts.

    Args:
        served: Which run.
        data: Where it is read from.
        name: What it is called.

    Returns:
        The run; what can't be had of it stands in its problems.

    Raises:
        ValueError: If no layer can be had.
    """
    of = served.callback
    ranks = _rank_tags(served)
    single = [f"{of}/{what}" for what in ("health", "alarm_level", "overhead_share", "codebook")]
    points = data.read(served.run, [*ranks, *single])
    steps = np.array(sorted({step for one in points.values() for step in one}), np.int64)
    values = {tag: _values(one, steps) for tag, one in points.items()}
    keys = list(dict.fromkeys(key for key, _ in ranks.values()))
    if not keys or not len(steps):
        raise ValueError(f"TensorBoard has no effective rank of a layer in {name}")
    tag_of = {about: tag for tag, about in ranks.items()}
    nothing = np.full(len(steps), np.nan, np.float32)

    def curve(key: Key) -> Curve:
        value, low, high = (values.get(tag_of.get((key, end), ""), nothing) for end in ("", "_low", "_high"))
        return Curve(value, low, high)

    health, level, share, codes = (values[tag] for tag in single)
    books = {"quantizer with the least": CodebookCurve(nothing, codes, nothing, 0)} if np.isfinite(codes).any() else {}
    header = _header(of, keys)
    alarms, episodes = _alarms(data.texts(served.run, f"{of}/alarms"), header.sources)
    run = RecordedRun(
        name=name,
        path="",
        header=header,
        steps=steps,
        n_readings=len(steps),
        curves={key: curve(key) for key in keys},
        codebooks=books,
        health=health,
        alarm_level=level,
        learning_rate=nothing,
        muted=nothing,
        cost_share=share,
        alarms=alarms,
        episodes=episodes,
        end=RunEnd(int(steps[-1]), len(steps), math.nan, math.nan) if data.texts(served.run, f"{of}/summary") else None,
        loss=data.loss([served.run]),
        problems=[MISSING],
    )
    return dataclasses.replace(run, alarms=[*alarms, *_unnamed(run)])


def _rank_tags(served: ServedRun) -> dict[str, tuple[Key, str]]:
    """Curve, and which end of the interval or none, by tag."""
    found: dict[str, tuple[Key, str]] = {}
    for tag in sorted(served.tags):
        group, _, rest = tag.rpartition("/")
        level = group.removeprefix(f"{served.callback}_")
        match = _RANK.fullmatch(rest)
        if level != group and level in ("frame", "utterance") and match and len(found) < 3 * MOST_CURVES:
            key = (text_of(match["source"] or _PRIMARY), level, text_of(match["layer"]))
            found[tag] = (key, match["end"] or "")
    return found


def _values(points: Mapping[int, float], steps: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.array([points.get(int(step), np.nan) for step in steps], np.float32)


def _header(callback: str, keys: Iterable[Key]) -> RunHeader:
    labels = sorted({layer for _, _, layer in keys}, key=lambda label: [int(n) for n in re.findall(r"\d+", label)][:1])
    levels = [level for level in ("frame", "utterance") if any(key[1] == level for key in keys)]
    sources = sorted({source for source, _, _ in keys}, key=lambda source: (source != _PRIMARY, source))
    return RunHeader(callback, "", [LayerRow(label, label, 0, "", "") for label in labels], levels, sources, 0)


def _alarms(texts: Iterable[str], sources: Sequence[str]) -> tuple[list[Alarm], list[Episode]]:
    """As far as their texts are there; layers are called by their short names."""
    alarms: dict[tuple[object, ...], Alarm] = {}
    episodes = []
    for text in texts:
        step, message, found = read_status(text)
        # Scalars don't name the primary set, texts do.
        there = [one if one.source in sources else dataclasses.replace(one, source=_PRIMARY) for one in found]
        for alarm in there:
            alarms.setdefault((alarm.kind, alarm.severity, alarm.layer, alarm.level, alarm.since), alarm)
        if message and step is not None:
            episodes.append(Episode(step, message, there))
    return list(alarms.values()), episodes


def _unnamed(run: RecordedRun) -> list[Alarm]:
    """One for each time at which an alarm held of which there is no text."""
    known = [(alarm.since, alarm.step) for alarm in run.alarms]
    found = []
    for level, first, last in level_steps(run):
        if not any(since <= last and step >= first for since, step in known):
            severity = CRITICAL if level > 1 else WARNING
            why = "TensorBoard no longer has the text of this alarm: look into the run's records"
            found.append(Alarm(first, "alarm", severity, "a layer that isn't named", "frame", _PRIMARY, why, first))
    return found
