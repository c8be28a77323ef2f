"""The table of what ours and other monitors find, how soon, and with how many false alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from zoo_of_encoders.bounds import share
from zoo_of_encoders.harm import HARMFUL, HARMLESS, Harm
from zoo_of_encoders.monitors import MONITORS
from zoo_of_encoders.record import History

HEAD = "| monitor | healthy: alarmed | before the switch | harmful: found | harmless: alarmed | delay | lead |"
"""Delay: steps from the switch to the alarm; lead: from the alarm to the probe at which half of the loss was there."""

Steps = Mapping[str, Sequence[int]]


def beside_others(ours: Mapping[str, Steps], histories: Mapping[str, History], harms: Mapping[str, Harm]) -> list[str]:
    """One line for each monitor.

    Args:
        ours: By monitor, then by run, the steps of its alarms.
        histories: By name, healthy and broken ones.
        harms: Of the broken ones that have twins.

    Returns:
        The table's lines.
    """
    others = {name: {n: alarmed(h) for n, h in histories.items()} for name, alarmed in MONITORS.items()}
    lines = [HEAD, "|---" * 7 + "|"]
    return [*lines, *(f"| {name} | {_row(found, histories, harms)} |" for name, found in {**ours, **others}.items())]


def _row(found: Steps, histories: Mapping[str, History], harms: Mapping[str, Harm]) -> str:
    runs = {name: history.run for name, history in histories.items()}
    healthy = [n for n, run in runs.items() if run.healthy]
    broken = [n for n in runs if n in harms]
    first = {n: next((step for step in found[n] if step > runs[n].switch), None) for n in broken}
    harmful = [n for n in broken if harms[n].verdict == HARMFUL]
    harmless = [n for n in broken if harms[n].verdict == HARMLESS]
    early = sum(any(step <= runs[n].switch for step in found[n]) for n in broken)
    delays = [step - runs[n].switch for n in harmful if (step := first[n]) is not None]
    leads = [half - step for n in harmful if (step := first[n]) is not None and (half := harms[n].half_at) is not None]
    cells = [share(sum(bool(found[n]) for n in healthy), len(healthy)), str(early)]
    cells += [f"{sum(first[n] is not None for n in names)} of {len(names)}" for names in (harmful, harmless)]
    cells.append(f"{median(delays):.0f} / {max(delays)}" if delays else "-")
    cells.append(f"{median(leads):.0f} / {min(leads)}" if leads else "-")
    return " | ".join(cells)
