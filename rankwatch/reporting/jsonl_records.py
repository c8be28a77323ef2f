"""Everything in full, one JSON object a line, in a file in the run's folder.

=============  ===========================================================================
``record``     fields
=============  ===========================================================================
``run``        the header: name, version, layers, levels, sources; once per (re)start. ``run`` names the run in
               which its curves began: runs that wrote into one file, one after the other, differ in it
``protocol``   ``id`` and everything a number's comparability depends on; once each
``reading``    a layer's `Reading`; ``protocol`` is the id
``codebook``   a quantizer's `CodebookReading`; ``protocol`` is the id
``summary``    ``step``, ``health``, ``alarm_level``, ``learning_rate``, ``muted``, and statistics over layers, named
               ``level/metric@source/statistic``; the primary set's name is left out
``alarm``      one alarm at the step that raised it
``episode``    ``step``, ``message``, and all open alarms
``cost``       ``step``, seconds by part, share of the run's time, bytes exchanged, steps to the next reading
``end``        how the run ended
=============  ===========================================================================

A number that doesn't exist (NaN, Inf) is ``null``, so that every line is valid JSON; a reading's
``status``, a sorted list of flags that is empty when nothing stands against the number, says why.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from rankwatch.readings.codebook_reading import AnyReading, CodebookReading
from rankwatch.readings.reading import Key, Reading
from rankwatch.readings.report import Report, RunEnd, RunHeader, SummaryKey
from rankwatch.runtime.files.run_paths import run_path
from rankwatch.runtime.plain_data import from_plain, to_plain

_Kind = TypeVar("_Kind", Reading, CodebookReading)


class JsonlReporter:
    """Appends to one file; it is opened, written and closed at each report.

    So nothing is lost when the process is killed, and the callback that holds the reporter can be
    pickled. A line that was cut off by a kill or by a full disk is closed before anything is appended, and a file that
    was taken away in the middle of a run begins anew, with the header.

    Args:
        path: The file; its folder is made when the first line is written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._protocols: set[str] = set()
        self._failed = False

    def start(self, header: RunHeader) -> None:
        """Note the (re)start."""
        self._header = header
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._protocols = self._recover()
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._write([{"record": "run", "time": now, **to_plain(header)}])

    def report(self, report: Report) -> None:
        """Write all of it."""
        self._be_there()
        step = {"step": report.step}
        records: list[dict[str, Any]] = []
        known = set(self._protocols)
        readings: list[AnyReading] = [*report.readings, *report.codebooks]
        for reading in readings:
            protocol = reading.protocol
            if protocol.id not in known:
                known.add(protocol.id)
                records.append({"record": "protocol", "id": protocol.id, **to_plain(protocol)})
            records.append(_reading_record(reading))
        records.append(
            {
                "record": "summary",
                **step,
                "health": report.health,
                "alarm_level": report.alarm_level,
                "learning_rate": report.learning_rate,
                "muted": report.muted,
                "summary": {self._summary_name(key): value for key, value in report.summary.items()},
                "extra": dict(report.extra),
            }
        )
        records += [{"record": "alarm", **to_plain(alarm)} for alarm in report.alarms]
        if report.message:
            open_alarms = to_plain(report.open_alarms)
            records.append({"record": "episode", **step, "message": report.message, "open_alarms": open_alarms})
        records.append({"record": "cost", **step, **to_plain(report.cost)})
        self._write(records)
        self._protocols = known  # what could not be written isn't there

    def settle(self) -> None:
        """Nothing was put off."""

    def end(self, end: RunEnd) -> None:
        """Note how it ended."""
        self._be_there()
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._write([{"record": "end", "time": now, **to_plain(end)}])

    def _summary_name(self, key: SummaryKey) -> str:
        """For people and scripts that read the file; the primary set's name is left out."""
        at = "" if key.source == self._header.sources[0] else f"@{key.source}"
        return f"{key.level}/{key.metric}{at}/{key.statistic}"

    def _write(self, records: list[dict[str, Any]]) -> None:
        lines = [json.dumps(_without_nan(record), allow_nan=False, ensure_ascii=False) for record in records]
        failed, self._failed = self._failed, True
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" * failed + "".join(line + "\n" for line in lines))
        self._failed = False

    def _be_there(self) -> None:
        """Begin anew if somebody has taken the file away."""
        if not self.path.exists():
            self.start(self._header)

    def _recover(self) -> set[str]:
        """Close a cut-off last line; find the protocols that are there already."""
        if not self.path.exists():
            return set()
        start = '{"record": "protocol"'
        known, last = set(), "\n"
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for last in file:
                if last.startswith(start) and last.endswith("}\n"):
                    known.add(json.loads(last)["id"])
        if not last.endswith("\n"):
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n")
        return known


def read_records(path: str | Path) -> Iterator[dict[str, Any]]:
    """All records of a file, in order.

    A line that isn't JSON (the process was killed while writing it) is skipped with a warning. A missing file raises
    `FileNotFoundError`.

    Args:
        path: A file that `JsonlReporter` has written, or its URL in an object store.

    Yields:
        Each record, as it was written.
    """
    with run_path(path).open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                warnings.warn(f"{path}, line {number} is cut off or broken, skipped", stacklevel=2)
                continue
            yield record


def newest_run(path: str | Path) -> list[dict[str, Any]]:
    """The records of the file's newest run, restarts of it included, and the protocols of all.

    Args:
        path: A file that `JsonlReporter` has written; a missing one raises `FileNotFoundError`.

    Returns:
        The records in order; those of earlier runs, which wrote into the same folder, are left out.
    """
    records, run = [], ""
    for record in read_records(path):
        if record.get("record") == "run":
            run = record.get("run", "")
        records.append((run, record))
    return [record for one, record in records if one == run or record.get("record") == "protocol"]


def read_jsonl(path: str | Path) -> list[Reading]:
    """The layers' readings of a file's newest run, in the order of their steps, each with its protocol.

    A (step, source, level, layer) that was read twice, because the run was resumed from an older checkpoint, counts
    once: the later one. A missing file raises `FileNotFoundError`, and a file in which a protocol is missing, or that
    an earlier version wrote, `ValueError`.

    Args:
        path: A file that `JsonlReporter` has written.

    Returns:
        The readings; numbers that are ``null`` are NaN.
    """
    return _read(path, "reading", Reading)


def read_codebooks(path: str | Path) -> list[CodebookReading]:
    """The quantizers' readings of a file's newest run; see `read_jsonl`.

    Args:
        path: A file that `JsonlReporter` has written.

    Returns:
        The readings; numbers that are ``null`` are NaN.
    """
    return _read(path, "codebook", CodebookReading)


def _read(path: str | Path, name: str, kind: type[_Kind]) -> list[_Kind]:
    protocols: dict[str, dict[str, Any]] = {}
    readings: dict[tuple[int, Key], _Kind] = {}
    for record in newest_run(path):
        if record.get("record") == "protocol":
            protocols[record["id"]] = record
        elif record.get("record") == name:
            if isinstance(record["status"], str):
                raise ValueError(f"{path} was written by an earlier version of rankwatch; read it with that version")
            if record["protocol"] not in protocols:
                raise ValueError(
                    f"{path}: a {name} of step {record['step']} names the unknown protocol {record['protocol']}"
                )
            reading = from_plain(kind, {**record, "protocol": protocols[record["protocol"]]})
            readings[reading.step, reading.key] = reading
    return sorted(readings.values(), key=lambda reading: reading.step)


def _reading_record(reading: AnyReading) -> dict[str, Any]:
    """The protocol by its id, the spectrum with five digits: it is only for pictures."""
    is_layer = isinstance(reading, Reading)
    record = {"record": "reading" if is_layer else "codebook", **to_plain(reading), "protocol": reading.protocol.id}
    if "spectrum" in record:
        record["spectrum"] = [float(f"{value:.5g}") for value in record["spectrum"]]
    return record


def _without_nan(value: Any) -> Any:
    """``null`` for numbers that don't exist, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
