"""Whether runs may be compared, in what they differ, and which of them can be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rankwatch.readings.protocol import Protocol
from rankwatch.reporting.recorded.recorded_run import RecordedRun
from rankwatch.runtime.plain_data import to_plain

_MOST_NAMED = 4


def differing_protocols(runs: Sequence[RecordedRun]) -> str:
    """In what the protocols of runs differ: numbers under different ones can't be compared.

    Curves are compared by source, level and the layer's short name, each run with the first.

    Args:
        runs: Two or more.

    Returns:
        A sentence; empty where they agree.
    """
    first, *others = runs
    for run in others:
        here, there = _protocols(first), _protocols(run)
        unknown = first if not here else run if not there else None
        if unknown is not None:
            return f"{first.name} and {run.name} can't be compared: no protocol is known of {unknown.name}."
        shared = here.keys() & there.keys()
        if not shared:
            return (
                f"{first.name} and {run.name} can't be compared: they have no evaluation set, level and layer in "
                f"common ({_listed(first)} against {_listed(run)})."
            )
        found: dict[str, str] = {}
        for key in sorted(shared):
            one, other = to_plain(here[key]), to_plain(there[key])
            for name in here[key].differing_fields(there[key]):
                found.setdefault(name, f"{name} {_word(one[name])} against {_word(other[name])} ({', '.join(key)})")
        if found:
            some = "; ".join([*found.values()][:_MOST_NAMED])
            return f"{first.name} and {run.name} can't be compared: their protocols differ in {some}."
    return ""


def require_comparable(runs: Sequence[RecordedRun]) -> None:
    """Refuse runs that were read under different protocols, or that aren't there.

    Args:
        runs: Any number of runs.

    Raises:
        ValueError: If they can't be compared, with the reason.
    """
    if not runs:
        raise ValueError("no run to draw")
    reason = differing_protocols(runs) if len(runs) > 1 else ""
    if reason:
        raise ValueError(reason)


def _protocols(run: RecordedRun) -> dict[tuple[str, str, str], Protocol]:
    labels = {row.layer: row.label for row in run.layers}
    return {
        (source, level, labels.get(layer, layer)): run.protocols[curve.protocol]
        for (source, level, layer), curve in run.curves.items()
        if curve.protocol in run.protocols
    }


def _listed(run: RecordedRun) -> str:
    return f"{', '.join(run.sources)} at {' and '.join(run.levels)} level"


def _word(value: object) -> str:
    return "none" if value is None or value == "" else str(value)


@dataclass(frozen=True)
class Ranked:
    """A run in the order of a layer's effective rank.

    Attributes:
        run: Its number.
        name: Its name.
        value: Effective rank.
        low: Lower end of the 90 % interval; NaN where there is none.
        high: Upper end.
        tied: Whether it can't be told apart from the run before it.
    """

    run: int
    name: str
    value: float
    low: float
    high: float
    tied: bool


def rank_runs(
    runs: Sequence[RecordedRun], label: str, level: str, source: str, step: int | None = None
) -> list[Ranked]:
    """Order runs by one layer's effective rank.

    A run can't be told apart from the one before it where their 90 % intervals overlap, or where one has none.

    Args:
        runs: Under one protocol.
        label: The layer's short name.
        level: ``"frame"`` or ``"utterance"``.
        source: Name of the evaluation set.
        step: Optimiser step, of which the newest reading up to it counts; the last that all have reached by default.

    Returns:
        The highest first; runs without a reading are left out.
    """
    found = []
    at = last_common_step(runs) if step is None else step
    for number, run in enumerate(runs):
        layer = next((row.layer for row in run.layers if row.label == label), "")
        curve = run.curves.get((source, level, layer))
        if curve is None:
            continue
        there = np.flatnonzero((run.steps <= at) & np.isfinite(curve.values))
        if len(there):
            i = there[-1]
            found.append((float(curve.values[i]), float(curve.low[i]), float(curve.high[i]), number, run.name))
    found.sort(reverse=True)
    ranked = []
    for place, (value, low, high, number, name) in enumerate(found):
        before = found[place - 1] if place else None
        tied = before is not None and not high < before[1]
        ranked.append(Ranked(number, name, value, low, high, tied))
    return ranked


def last_common_step(runs: Sequence[RecordedRun]) -> int:
    """The last step that all runs have reached."""
    return min((int(run.steps[-1]) for run in runs if len(run.steps)), default=0)


def differing_hyperparameters(runs: Sequence[RecordedRun]) -> list[tuple[str, ...]]:
    """Hyperparameters in which runs differ.

    Args:
        runs: Two or more.

    Returns:
        Name, and the value of each run (empty where it has none). One that a longer name ends in with the same values,
        as in ``model.init_args.width`` and ``width``, is listed once.
    """
    names = sorted({name for run in runs for name in run.hyperparameters}, key=lambda name: (-name.count("."), name))
    rows: list[tuple[str, ...]] = []
    seen: set[tuple[str, ...]] = set()
    for name in names:
        values = tuple(run.hyperparameters.get(name, "") for run in runs)
        about = (name.rpartition(".")[2], *values)
        if len(set(values)) > 1 and about not in seen:
            seen.add(about)
            rows.append((name, *values))
    return sorted(rows)
