"""Judge the zoo: false alarms, harmful runs found and missed, by what thresholds may be chosen on and what not.

python tests/benchmarks/zoo_of_encoders/table.py             # the whole table, of the histories that are stored here
python tests/benchmarks/zoo_of_encoders/table.py --runs      # and each run in a line
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from rankwatch.alarms.detectors import SENSITIVITIES, default_detectors
from zoo_of_encoders.beside_others import beside_others
from zoo_of_encoders.bounds import rate_at_most, share
from zoo_of_encoders.harm import GREY, HARMFUL, HARMLESS, Harm, harm, null, skill
from zoo_of_encoders.record import History, read
from zoo_of_encoders.replay import Fall, Found, fall, judge
from zoo_of_encoders.split import ALL_NEW, ARCHITECTURES, CHOSEN, HALF_NEW, METHODS


class Judged:
    """All histories with what is known about them."""

    def __init__(self, histories: dict[str, History], sensitivity: str = "default") -> None:
        self.histories = histories
        self.null = null(histories)
        self.found: dict[str, Found] = {}
        self.harms: dict[str, Harm] = {}
        for name, history in histories.items():
            self.found[name] = judge(history, default_detectors(sensitivity))
            told = None if history.run.healthy else harm(history, histories, self.null)
            if told is not None:
                self.harms[name] = told

    def names(self, part: str | None = None, *, healthy: bool, long: bool = False) -> list[str]:
        """Runs of a part (of all, if None)."""
        runs = {name: history.run for name, history in self.histories.items()}
        return [
            name
            for name, run in runs.items()
            if part in (None, run.part) and run.healthy == healthy and run.long == long
        ]

    def told(self, names: Iterable[str]) -> str:
        """Of broken runs: those with a critical alarm after the switch, and those with a warning alone."""
        names = list(names)
        after = {n: self.histories[n].run.switch for n in names}
        critical = {n for n in names if self.found[n].steps("critical", after[n])}
        warned = {n for n in names if self.found[n].steps("warning", after[n])} - critical
        return f"{len(critical)} + {len(warned)} of {len(names)}"

    def row(self, healthy: Sequence[str], broken: Sequence[str]) -> str:
        """One row of the main table."""
        cells = [share(sum(bool(self.found[n].steps(s)) for n in healthy), len(healthy)) for s in _SEVERITIES]
        known = {n: self.harms[n] for n in broken if n in self.harms}
        cells.append(self.told(n for n, harm in known.items() if harm.in_layers))
        for verdict in _VERDICTS:
            cells.append(self.told(n for n, harm in known.items() if harm.verdict == verdict and not harm.in_layers))
        early = sum(any(s <= self.histories[n].run.switch for s in self.found[n].steps("critical")) for n in broken)
        return " | ".join([*cells, str(early)])

    def long_row(self, names: Iterable[str]) -> str:
        """False alarms per thousand readings."""
        names = list(names)
        readings = sum(len(self.histories[n].by_step) for n in names)
        cells = [str(len(names)), str(readings)]
        for severity in _SEVERITIES:
            count = sum(len(self._episodes(n, severity)) for n in names)
            cells.append(f"{count} ({1e3 * count / readings:.2f}, < {1e3 * rate_at_most(count) / readings:.2f})")
        return " | ".join(cells)

    def _episodes(self, name: str, severity: str) -> list[tuple[str, int]]:
        """Alarms of one kind that begin within ten readings of each other are one."""
        within = 10 * self.histories[name].run.every
        found: list[tuple[str, int]] = []
        for alarm in self.found[name].alarms:
            if alarm.severity == severity and not any(
                kind == alarm.kind and alarm.step - step <= within for kind, step in found
            ):
                found.append((alarm.kind, alarm.step))
        return found

    def way(self, way: str, names: list[str]) -> str:
        """One row of the table of ways of breaking."""
        cells = [way, str(len(names))]
        for verdict in _VERDICTS:
            mine = [n for n in names if self.harms[n].verdict == verdict]
            cells.append(self.told(mine) if mine else "-")
        worst, whole = (median(getattr(self.harms[n].loss, name) for n in names) for name in ("worst", "whole"))
        kinds = Counter(a.kind for n in names for a in self.found[n].alarms[:1])
        return " | ".join([*cells, f"{whole:.0%}, {worst:.0%}", ", ".join(k for k, _ in kinds.most_common(2)) or "-"])


_SEVERITIES = ("critical", "warning")
_VERDICTS = (HARMFUL, GREY, HARMLESS)
_FIRST_TRIAL = ("patches-jepa", "cnn-byol", "conformer-barlow", "gru-cpc", "raw_waveform-hubert")
_MUCH = 0.1


def load(folder: Path) -> dict[str, History]:
    """All histories by name."""
    return {path.name.removesuffix(".jsonl.gz"): read(path) for path in sorted(folder.glob("*.jsonl.gz"))}


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=Path, default=Path(__file__).parent / "histories")
    parser.add_argument("--sensitivity", default="default", choices=tuple(SENSITIVITIES))
    parser.add_argument("--runs", action="store_true")
    options = parser.parse_args()
    judged = Judged(load(options.histories), options.sensitivity)
    _main_table(judged)
    _others(judged)
    _long_table(judged)
    _ways(judged)
    _causes(judged)
    if options.runs:
        _each(judged)


def _main_table(judged: Judged) -> None:
    quantiles = ", ".join(f"{judged.null.quantile(name, 0.95):.0%} ({name})" for name in ("whole", "worst", "unlearnt"))
    print(f"Of healthy twins' losses beside each other 95 % lie below {quantiles}.\n")
    print("Broken runs: critical + warned only, of all.\n")
    print("| runs | critical on healthy | warned on healthy | harmful in its layers | by its objective alone ", end="")
    print("| grey | harmless | critical before the switch |\n|---|---|---|---|---|---|---|---|")
    for part in (CHOSEN, HALF_NEW, ALL_NEW, None):
        print(
            f"| {part or 'all'} | {judged.row(*(judged.names(part, healthy=healthy) for healthy in (True, False)))} |"
        )
    both = ([n for n in judged.names(healthy=healthy) if _was_tried_before(n)] for healthy in (True, False))
    print(f"| kinds of the first trial | {judged.row(*both)} |")
    much = {n: harm.loss.whole >= _MUCH for n, harm in judged.harms.items() if harm.in_layers}
    for name, is_much in ((f"{_MUCH:.0%} or more", True), ("less", False)):
        told = judged.told(n for n, lost in much.items() if lost == is_much)
        print(f"\nHarmful in their layers, and the best layers lost {name} of what they know: {told}")


def _was_tried_before(name: str) -> bool:
    """Whether a run is of a kind in which false alarms and misses were first seen, on runs that weren't kept."""
    return name.startswith(_FIRST_TRIAL) or name.split("-")[1] == "mae"


def _others(judged: Judged) -> None:
    short = {name: history for name, history in judged.histories.items() if not history.run.long}
    ours = {
        "rankwatch, critical": {n: judged.found[n].steps("critical") for n in short},
        "rankwatch, any alarm": {
            n: sorted(a.step for a in judged.found[n].alarms if a.severity != "info") for n in short
        },
    }
    print("\nBeside what people use today\n")
    print("\n".join(beside_others(ours, short, judged.harms)))


def _long_table(judged: Judged) -> None:
    names = judged.names(healthy=True, long=True)
    if not names:
        return
    print("\nLong healthy runs: alarms, per 1,000 readings, and at most with 95 %\n")
    print("| runs | number | readings | critical | warnings |\n|---|---|---|---|---|")
    for part in (CHOSEN, HALF_NEW, ALL_NEW, None):
        mine = [n for n in names if part in (None, judged.histories[n].run.part)]
        if mine:
            print(f"| {part or 'all'} | {judged.long_row(mine)} |")


def _ways(judged: Judged) -> None:
    ways: dict[str, list[str]] = defaultdict(list)
    for name in judged.harms:
        ways[judged.histories[name].run.variant].append(name)
    print("\n| broken by | runs | harmful | grey | harmless | lost: whole, worst (median) | first kinds |")
    print("|---|---|---|---|---|---|---|")
    for way, names in sorted(ways.items()):
        print(f"| {judged.way(way, names)} |")


def _causes(judged: Judged) -> None:
    """Which detectors speak on healthy runs of what, and how far healthy ranks come down from what."""
    healthy = [n for n in judged.histories if judged.histories[n].run.healthy]
    for severity in _SEVERITIES:
        counts: Counter[str] = Counter()
        for n in healthy:
            run = judged.histories[n].run
            kinds = {a.kind for a in judged.found[n].alarms if a.severity == severity}
            counts.update(f"{kind} in {run.architecture}, {run.method}" for kind in kinds)
        told = "; ".join(f"{kind} ({count})" for kind, count in counts.most_common(40))
        print(f"\n{severity} on healthy runs: {told or 'none'}")
    print("\nHealthy runs: the lowest effective rank of a block as a share of several references; least (and median)\n")
    print("| | runs | first four readings | input's own rank | best sustained | lowest health | last health | won |")
    print("|---|---|---|---|---|---|---|---|")
    of = {n: judged.histories[n].run for n in healthy}
    groups = {m: [n for n in healthy if of[n].method == m] for m in METHODS}
    groups |= {a: [n for n in healthy if of[n].architecture == a] for a in ARCHITECTURES}
    for group, names in groups.items():
        if names:
            falls = [fall(judged.histories[n]) for n in names]
            cells = [_least([getattr(f, name) for f in falls]) for name in Fall.__dataclass_fields__]
            health = [np.array(judged.found[n].health) for n in names]
            cells += [_least([float(np.nanmin(h)) for h in health]), _least([float(h[-1]) for h in health])]
            cells.append(_least([_won(judged.histories[n]) for n in names]))
            print(f"| {group} | {len(names)} | {' | '.join(cells)} |")


def _won(history: History) -> float:
    """What the best layers know at the end beside the first probe, on average over tasks."""
    first, last = skill(history, slice(0, 1)), skill(history)
    tasks = {task for task, _ in last}
    best = [tuple(max(v for (t, _), v in side.items() if t == task) for side in (first, last)) for task in tasks]
    return float(np.mean([after / before for before, after in best]))


def _least(values: list[float]) -> str:
    values = [v for v in values if np.isfinite(v)]
    return f"{min(values):.2f} ({median(values):.2f})" if values else "-"


def _each(judged: Judged) -> None:
    for n, history in judged.histories.items():
        alarms = judged.found[n].alarms
        told = [f"{a.severity} {a.kind} {a.level} {a.source} {a.layer} at {a.step}" for a in alarms]
        firsts = [next((t for t in told if t.startswith(severity)), "-") for severity in _SEVERITIES]
        h = judged.harms.get(n)
        state = "healthy" if history.run.healthy else "no twin yet"
        if h is not None:
            lost = f"whole {h.loss.whole:.0%}, worst {h.loss.worst:.0%} ({h.loss.where})"
            where = " in its layers" if h.in_layers else " by its objective alone" if h.verdict == HARMFUL else ""
            state = f"{h.verdict}{where}, p {h.p:.3f}, {lost}, half at {h.half_at}"
        print(f"{n} [{history.run.part}] {state} | {firsts[0]} | {firsts[1]}")


if __name__ == "__main__":
    main()
