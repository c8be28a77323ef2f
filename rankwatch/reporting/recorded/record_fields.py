"""Fields of records as what they should be, or an error: a file may hold anything."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

from rankwatch.readings.alarm import CRITICAL, INFO, WARNING, Alarm
from rankwatch.readings.drift.layer_drift import FIRST, PREVIOUS, is_trusted
from rankwatch.readings.report import LayerRow, RunEnd, RunHeader

K = TypeVar("K", bound=Hashable)

MOST_CURVES = 2_000
"""Curves, quantizers and protocols of a run that are read."""

_MOST_WORDS = 100  # levels, sources, notes
_LONGEST_TEXT = 6_000
_LATEST_STEP = 2**53  # beyond it a browser can't count
_LARGEST = 1e30


def index_of(known: dict[K, int], key: K) -> int:
    """The place of a curve among those that are known, at the end where it is new.

    Args:
        known: Places by curve; is added to.
        key: The curve.

    Returns:
        The place.

    Raises:
        ValueError: If there would be more than a run can have.
    """
    if key not in known and len(known) >= MOST_CURVES:
        raise ValueError("more curves than a run can have")
    return known.setdefault(key, len(known))


def alarm_of(record: Mapping[str, Any]) -> Alarm:
    """An alarm from its record; one that is none raises KeyError, TypeError or ValueError."""
    words = {name: text_of(record[name]) for name in ("kind", "severity", "layer", "level", "source", "message")}
    if words["severity"] not in (INFO, WARNING, CRITICAL):
        raise ValueError(f"no severity: {words['severity']!r}")
    return Alarm(step=step_of(record), since=step_of(record, "since"), **words)


def header_of(record: Mapping[str, Any]) -> RunHeader:
    """A run's header from its record; one that is none raises KeyError, TypeError or ValueError."""
    rows = [_layer_of(row) for row in record["layers"][:MOST_CURVES]]
    levels, sources, notes = (
        [text_of(one) for one in record[name][:_MOST_WORDS]] for name in ("levels", "sources", "notes")
    )
    if not levels:
        raise ValueError("a header without levels")
    name, version = text_of(record["name"]), text_of(record["version"])
    every = step_of(record, "every_n_steps")
    return RunHeader(name, version, rows, levels, sources, every, notes, text_of(record.get("run", "")))


def _layer_of(row: Mapping[str, Any]) -> LayerRow:
    words = {
        name: text_of(row.get(name, "")) for name in ("layer", "label", "layout", "lengths", "note", "cost", "tap")
    }
    projection = row.get("projection")
    return LayerRow(width=int(row["width"]), projection=None if projection is None else int(projection), **words)


def end_of(record: Mapping[str, Any]) -> RunEnd:
    """How a run ended, without its alarms; a record that isn't one raises KeyError, TypeError or ValueError."""
    return RunEnd(
        step_of(record),
        step_of(record, "readings"),
        number_of(record["share"]),
        number_of(record["seconds"]),
        stopped=bool(record.get("stopped")),
        checkpoint=text_of(record.get("checkpoint", "")),
        notes=[text_of(one) for one in record.get("notes", ())[:_MOST_WORDS]],
        measured=bool(record.get("measured", True)),
    )


def drift_numbers(entries: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    """A reading's drift as numbers: of the reading before and of the first, value, both ends, 1 if it is to be trusted.

    Args:
        entries: The fields of each `LayerDrift`. What isn't one raises KeyError, TypeError or ValueError.

    Returns:
        Eight numbers, NaN where there is none.
    """
    found = dict.fromkeys((PREVIOUS, FIRST), (math.nan,) * 4)
    for entry in entries[:_MOST_WORDS]:
        value, low, high = (number_of(entry[name]) for name in ("value", "low", "high"))
        trusted = is_trusted(map(text_of, entry["status"]))
        if entry["since"] in found:
            found[entry["since"]] = (value, low, high, float(trusted))
    return (*found[PREVIOUS], *found[FIRST])


def step_of(record: Mapping[str, Any], name: str = "step") -> int:
    """An optimiser step.

    Args:
        record: A record.
        name: Its field.

    Returns:
        The step.

    Raises:
        ValueError: If it is none.
    """
    step = int(record[name])
    if not 0 <= step <= _LATEST_STEP:
        raise ValueError(f"no step: {step}")
    return step


def number_of(value: Any) -> float:
    """A number; NaN for None and for what is too large to be drawn."""
    number = math.nan if value is None else float(value)
    return number if abs(number) < _LARGEST else math.nan


def text_of(value: Any) -> str:
    """A text of bounded length that can be written to a page.

    Args:
        value: From a record.

    Returns:
        The text.

    Raises:
        TypeError: If it is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"no text: {type(value).__name__}")
    text = value[:_LONGEST_TEXT]
    with contextlib.suppress(UnicodeEncodeError):
        text.encode()
        return text
    return text.encode(errors="replace").decode()  # half of a surrogate pair
