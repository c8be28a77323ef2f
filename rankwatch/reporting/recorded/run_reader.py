"""From the records of a file to a `RecordedRun`, record by record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rankwatch.readings.alarm import Alarm
from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading import ACCURACY, MAJORITY, Key
from rankwatch.readings.report import LayerRow, RunEnd, RunHeader
from rankwatch.reporting.recorded.kept_steps import KeptSteps, assemble
from rankwatch.reporting.recorded.record_fields import (
    MOST_CURVES,
    alarm_of,
    drift_numbers,
    end_of,
    header_of,
    index_of,
    number_of,
    step_of,
    text_of,
)
from rankwatch.reporting.recorded.record_lines import RecordLines
from rankwatch.reporting.recorded.recorded_run import Episode, RecordedRun
from rankwatch.runtime.plain_data import from_plain

MOST_ALARMS = 2_000
MOST_EPISODES = 500
_MOST_PARTS = 32
_RESUMED = "The run was resumed from a checkpoint before step {}; what was read from there on before is left out."


class RunReader:
    """The newest run of a file; `update` takes in what was written since.

    Memory is bounded whatever the file holds: see `rankwatch.reporting.recorded.kept_steps`; of alarms, messages and
    curves the first 2,000, 500 and 2,000 are kept.

    Args:
        path: A file that `rankwatch.reporting.jsonl_records.JsonlReporter` has written, or its URL.
        name: What the run is called; the path if empty.
    """

    def __init__(self, path: str | Path, name: str = "") -> None:
        self._lines = RecordLines(path)
        self._path, self._name = str(path), name or str(path)
        self._anew = False
        self._forget()

    def _forget(self) -> None:
        self._run, self._earlier = "", 0
        self._protocols: dict[str, Protocol] = {}
        self._unusable: Counter[str] = Counter()
        self._begin()

    def _begin(self) -> None:
        self.header: RunHeader | None = None
        self.steps = KeptSteps()
        self.curves: dict[Key, int] = {}
        self.protocol_of: dict[Key, tuple[str, int]] = {}
        self.widths: dict[Key, int] = {}
        self.quantizers: dict[str, int] = {}
        self.n_codes: dict[str, int] = {}
        self.alarms: dict[tuple[Any, ...], Alarm] = {}
        self.episodes: dict[int, Episode] = {}
        self.end: RunEnd | None = None

    @property
    def bytes_read(self) -> int:
        """How much of the file was read."""
        return self._lines.offset

    def update(self) -> bool:
        """Read what is new.

        A missing file raises `FileNotFoundError`.

        Returns:
            Whether there was anything.
        """
        found = False
        for record in self._lines.new():
            if (self._anew or self._lines.restarted) and not found:
                self._forget()
            found = True
            kind = str(record.get("record"))[:40]
            take = _TAKERS.get(kind)
            if take is None:
                continue  # of a later version
            try:
                take(self, record)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
                self._unusable[kind] += 1
        self._anew = not found and (self._anew or self._lines.restarted)  # another file, in which nothing stands yet
        return found

    def run(self) -> RecordedRun:
        """Everything that was read so far.

        Returns:
            The run; later updates don't change it.

        Raises:
            ValueError: If nothing of it is a reading.
        """
        rows = list(self.steps.rows())
        if not self.curves and not self.quantizers:
            said = " ".join(self.problems())
            raise ValueError(f"{self._path} holds no reading of rankwatch's{': ' if said else ''}{said}")
        header = self.header or self._guessed_header()
        return RecordedRun(
            name=self._name,
            path=self._path,
            header=header,
            n_readings=self.steps.seen,
            alarms=list(self.alarms.values()),
            episodes=[self.episodes[step] for step in sorted(self.episodes)],
            protocols=dict(self._protocols),
            end=self.end,
            problems=self.problems(),
            **assemble(rows, self.curves, self.protocol_of, self.widths, self.quantizers, self.n_codes),
        )

    def problems(self) -> list[str]:
        """What couldn't be read or is left out, in sentences."""
        said = self._lines.problems()
        said += [
            f"{count} records of kind {kind!r} hold something else than rankwatch writes (or were written by another "
            "version), and are left out."
            for kind, count in self._unusable.items()
        ]
        if self.header is None and self.curves:
            said.append("The run's header is missing: layers are numbered as they come.")
        said += [_RESUMED.format(step) for step in self.steps.went_back]
        if self._earlier:
            said.append(f"The file holds {self._earlier} earlier runs as well; the newest is shown.")
        return said

    def _guessed_header(self) -> RunHeader:
        layers = list(dict.fromkeys(layer for _, _, layer in self.curves))
        rows = [LayerRow(layer, f"L{i:02}", self._width(layer), "", "") for i, layer in enumerate(layers)]
        levels = list(dict.fromkeys(level for _, level, _ in self.curves))
        sources = list(dict.fromkeys(source for source, _, _ in self.curves))
        return RunHeader("RankWatch", "unknown", rows, levels, sources, 0)

    def _width(self, layer: str) -> int:
        return next((width for (_, _, one), width in self.widths.items() if one == layer), 0)

    def _take_run(self, record: Mapping[str, Any]) -> None:
        header = header_of(record)
        run = header.run
        if self.curves and run != self._run:
            self._earlier += 1
            self._begin()
        self.steps.resume()
        self._run, self.header, self.end = run, header, None

    def _take_protocol(self, record: Mapping[str, Any]) -> None:
        if len(self._protocols) < MOST_CURVES:
            self._protocols[text_of(record["id"])] = from_plain(Protocol, record)

    def _take_reading(self, record: Mapping[str, Any]) -> None:
        key = (text_of(record["source"]), text_of(record["level"]), text_of(record["layer"]))
        index = index_of(self.curves, key)
        metrics = record["metrics"]
        ends = (record.get("effective_rank_low"), record.get("effective_rank_high"))
        numbers = (record["effective_rank"], *ends, metrics.get(ACCURACY), metrics.get(MAJORITY))
        floats = (*map(number_of, numbers), *drift_numbers(record.get("drift", ())))
        spectrum = [number_of(value) for value in record.get("spectrum", ())[:256]]
        step, protocol = step_of(record), text_of(record["protocol"])
        if self.protocol_of.get(key, ("", 0))[0] != protocol:
            self.protocol_of[key] = protocol, step
        self.widths[key] = max(0, min(int(record["d"]), 10**9))
        row = self.steps.at(step)
        row.curves[index] = floats
        if spectrum:
            row.spectra[index] = spectrum

    def _take_codebook(self, record: Mapping[str, Any]) -> None:
        name = text_of(record["quantizer"])
        values = tuple(
            number_of(record[one]) for one in ("perplexity", "normalized_perplexity", "active_code_fraction")
        )
        index = index_of(self.quantizers, name)
        self.n_codes[name] = max(0, min(int(record["n_codes"]), 10**9))
        self.steps.at(step_of(record)).codebooks[index] = (values[0], values[1], values[2])

    def _take_summary(self, record: Mapping[str, Any]) -> None:
        names = ("health", "alarm_level", "learning_rate", "muted")
        health, level, rate, muted = (number_of(record.get(name)) for name in names)
        self.steps.at(step_of(record)).summary = (health, level, rate, muted)

    def _take_alarm(self, record: Mapping[str, Any]) -> None:
        alarm = alarm_of(record)
        about = (alarm.step, alarm.kind, alarm.severity, alarm.source, alarm.level, alarm.layer)
        self.steps.at(alarm.step).alarmed = True
        if len(self.alarms) < MOST_ALARMS:
            self.alarms[about] = alarm

    def _take_episode(self, record: Mapping[str, Any]) -> None:
        alarms = [alarm_of(one) for one in record["open_alarms"][:MOST_CURVES]]
        step = step_of(record)
        self.steps.at(step).alarmed = True
        if len(self.episodes) < MOST_EPISODES:
            self.episodes[step] = Episode(step, text_of(record["message"]), alarms)

    def _take_cost(self, record: Mapping[str, Any]) -> None:
        row = self.steps.at(step_of(record))
        row.share = number_of(record["share"])
        parts = list(record["seconds"].items())[:_MOST_PARTS]
        row.seconds = {text_of(part)[:60]: number_of(seconds) for part, seconds in parts}

    def _take_end(self, record: Mapping[str, Any]) -> None:
        alarms = [alarm_of(one) for one in record["alarms"][:MOST_ALARMS]]
        self.end = end_of(record)
        for alarm in alarms:  # a file whose middle is gone still names them here
            about = (alarm.step, alarm.kind, alarm.severity, alarm.source, alarm.level, alarm.layer)
            if len(self.alarms) < MOST_ALARMS:
                self.alarms.setdefault(about, alarm)


_TAKERS: dict[str, Callable[[RunReader, Mapping[str, Any]], None]] = {
    "run": RunReader._take_run,
    "protocol": RunReader._take_protocol,
    "reading": RunReader._take_reading,
    "codebook": RunReader._take_codebook,
    "summary": RunReader._take_summary,
    "alarm": RunReader._take_alarm,
    "episode": RunReader._take_episode,
    "cost": RunReader._take_cost,
    "end": RunReader._take_end,
}


def holds_records(path: str | Path) -> bool:
    """Whether a file's first whole line is a record; the very first may have been cut off.

    Args:
        path: A file, or its URL; one that can't be opened holds none.

    Returns:
        The answer, from no more than the file's beginning.
    """
    try:
        return RecordLines(path).first().get("record") in _TAKERS
    except (OSError, TypeError):
        return False
