"""Everything in full, one JSON object a line, in a file beside the run.

=============  ===========================================================================
``record``     fields
=============  ===========================================================================
``run``        the header: name, version, layers, levels, sources; once per (re)start
``protocol``   ``id`` and everything a number's comparability depends on; once each
``reading``    one (step, source, level, layer); ``protocol`` is the id; a quantizer's level is ``codebook``
``summary``    ``step``, ``health``, ``alarm_level``, ``learning_rate``, statistics over layers, ``extra``
``alarm``      one alarm at the step that raised it
``episode``    ``step``, ``message``, and all alarms that hold
``cost``       ``step``, seconds by part, share of the run's time, bytes exchanged, steps to the next reading
``end``        how the run ended
=============  ===========================================================================

A number that doesn't exist (NaN, Inf) is ``null``, so that every line is valid JSON; a reading's
``status``, a sorted list of flags that is empty when nothing stands against the number, says why.
"""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading import Reading
from rankwatch.readings.report import Report, RunEnd, RunHeader


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
        self._write([{"record": "run", "time": now, **dataclasses.asdict(header)}])

    def report(self, report: Report) -> None:
        """Write all of it."""
        self._be_there()
        step = {"step": report.step}
        records: list[dict[str, Any]] = []
        known = set(self._protocols)
        for reading in report.readings:
            protocol = reading.protocol
            if protocol.id not in known:
                known.add(protocol.id)
                records.append({"record": "protocol", "id": protocol.id, **protocol.to_dict()})
            spectrum = [float(f"{value:.5g}") for value in reading.spectrum]  # for pictures: five digits do
            records.append({"record": "reading", **reading.to_dict(), "spectrum": spectrum})
        records.append(
            {
                "record": "summary",
                **step,
                "health": report.health,
                "alarm_level": report.alarm_level,
                "learning_rate": report.learning_rate,
                "summary": dict(report.summary),
                "extra": dict(report.extra),
            }
        )
        records += [{"record": "alarm", **alarm.to_dict()} for alarm in report.alarms]
        if report.message:
            holds = [alarm.to_dict() for alarm in report.open_alarms]
            records.append({"record": "episode", **step, "message": report.message, "open_alarms": holds})
        records.append({"record": "cost", **step, **dataclasses.asdict(report.cost)})
        self._write(records)
        self._protocols = known  # what could not be written isn't there

    def settle(self) -> None:
        """Nothing was put off."""

    def end(self, end: RunEnd) -> None:
        """Note how it ended."""
        self._be_there()
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._write([{"record": "end", "time": now, **dataclasses.asdict(end)}])

    def _write(self, records: list[dict[str, Any]]) -> None:
        lines = [json.dumps(_plain(record), allow_nan=False, ensure_ascii=False) for record in records]
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

    A line that isn't JSON (the process was killed while writing it) is skipped with a warning.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                warnings.warn(f"{path}, line {number} is cut off or broken, skipped", stacklevel=2)
                continue
            yield record


def read_jsonl(path: str | Path) -> list[Reading]:
    """The readings of a file, in the order of their steps, each with its protocol.

    A (step, source, level, layer) that was read twice, because the run was resumed from an older
    checkpoint, counts once: the later one.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a reading names a protocol that the file doesn't hold, or an earlier version wrote it.
    """
    protocols: dict[str, Protocol] = {}
    readings: dict[tuple[int, str, str, str], Reading] = {}
    for record in read_records(path):
        kind = record.pop("record", None)
        if kind == "protocol":
            identity = record.pop("id")  # before the rest becomes the protocol
            protocols[identity] = Protocol(**record)
        elif kind == "reading":
            key = (record["step"], record["source"], record["level"], record["layer"])
            if record["protocol"] not in protocols:
                raise ValueError(f"{path}: the reading {key} names the unknown protocol {record['protocol']}")
            if isinstance(record["status"], str):
                raise ValueError(f"{path} was written by an earlier version of rankwatch; read it with that version")
            readings[key] = _reading(record, protocols[record["protocol"]])
    return sorted(readings.values(), key=lambda reading: reading.step)


def _reading(record: dict[str, Any], protocol: Protocol) -> Reading:
    values = {
        **_fields_of(Reading, record),
        "protocol": protocol,
        "effective_rank": _number(record["effective_rank"]),
        "status": frozenset(record["status"]),
        "metrics": {name: _number(value) for name, value in record["metrics"].items()},
        "spectrum": tuple(_number(value) for value in record["spectrum"]),
    }
    return Reading(**values)


def _fields_of(kind: type[Protocol | Reading], record: dict[str, Any]) -> dict[str, Any]:
    """What this version knows of a record, so that files of later versions can be read."""
    known = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in record.items() if name in known}


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _plain(value: Any) -> Any:
    """What JSON can hold: null for numbers that don't exist, lists for tuples, text for keys."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
