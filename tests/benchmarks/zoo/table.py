"""Judge the zoo: what was found, how soon, beside what people use today.

    python tests/benchmarks/zoo/table.py                # the whole table
    python tests/benchmarks/zoo/table.py --runs         # and each run in a line

Runs are split by seed and method; see `PARTS` of `catalogue.py`.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

import monitors
from catalogue import PARTS
from harm import Harm, harm
from monitors import Found
from record import History, read
from scipy.stats import beta

from rankwatch.alarms.detectors import SENSITIVITIES, default_detectors

HERE = Path(__file__).resolve().parent
OTHERS: dict[str, Callable[[History], Found]] = {
    "EarlyStopping on the loss": monitors.early_stopping,
    "data2vec's std guard": monitors.std_guard,
    "std of normalised embeddings": monitors.std_normalised,
    "plain RankMe in train mode": monitors.plain_rankme,
}


def load(folder: Path = HERE / "histories") -> dict[str, History]:
    """All histories by name."""
    return {history.run.name: history for history in map(read, sorted(folder.glob("*.jsonl.gz")))}


def at_most(count: int, of: int) -> float:
    """Upper end of the one-sided 95 % Clopper-Pearson interval."""
    return 1.0 if count >= of else float(beta.ppf(0.95, count + 1, of - count))


def harms(histories: dict[str, History]) -> dict[str, Harm]:
    """Of all broken runs that have a twin."""
    return {
        name: harm(history, histories[history.run.twin])
        for name, history in histories.items()
        if not history.run.healthy and history.run.twin in histories
    }


def row(found: dict[str, Found], histories: dict[str, History], lost: dict[str, Harm], names: Iterable[str]) -> str:
    """One monitor on some runs."""
    names = list(names)
    healthy = [n for n in names if histories[n].run.healthy]
    harmful = [n for n in names if n in lost and lost[n].really]
    false = sum(bool(found[n].critical) for n in healthy)
    warned = sum(bool(found[n].warnings) for n in healthy)
    early = sum(any(s <= histories[n].run.switch for s in found[n].critical) for n in lost if n in names)
    delays, leads = [], []
    for n in harmful:
        switch, half = histories[n].run.switch, lost[n].half_at
        first = next((s for s in found[n].critical if s > switch), None)
        if first is not None and half is not None:
            delays.append(first - switch)
            leads.append(half - first)
    warnings = [n for n in harmful if not found[n].critical and found[n].warnings]
    hits = f"{len(delays)} of {len(harmful)}" + (f", {len(warnings)} by a warning" if warnings else "")
    delay = f"{median(delays):.0f} / {max(delays)}" if delays else "-"
    lead = f"{median(leads):.0f} / {min(leads)}" if leads else "-"
    rate = f"< {at_most(false, len(healthy)):.0%}" if healthy else "-"
    return f"{false} of {len(healthy)} ({rate}) | {warned} | {early} | {hits} | {delay} | {lead} |"


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=Path, default=HERE / "histories")
    parser.add_argument("--runs", action="store_true")
    options = parser.parse_args()
    histories = load(options.histories)
    lost = harms(histories)
    kept = [n for n, h in histories.items() if h.run.healthy or n in lost]
    parts = {part: [n for n in kept if histories[n].run.part == part] for part in PARTS}
    tried = {f"rankwatch, {word}": _ours(word) for word in SENSITIVITIES} | OTHERS
    found = {name: {n: monitor(histories[n]) for n in kept} for name, monitor in tried.items()}
    really = sum(h.really for h in lost.values())
    print(f"{len(kept) - len(lost)} healthy runs, {len(lost)} broken ones, {really} of these really harmful")
    for part, names in parts.items():
        print(f"\nRuns {part}: {len(names)}\n")
        print("| monitor | critical on healthy (95 %) | warned | before the switch | harmful found | delay | lead |")
        print("|---|---|---|---|---|---|---|")
        for name in tried:
            print(f"| {name} | {row(found[name], histories, lost, names)}")
    ways: dict[str, list[str]] = defaultdict(list)
    for n in lost:
        ways[histories[n].run.variant].append(n)
    print("\nAt the last healthy reading before the alarm the probe had lost:\n")
    for when in ("middle", "start"):
        names = [n for n in lost if histories[n].run.when == when]
        print(_last_healthy(when, names, found["rankwatch, default"], lost))
    print("\n| broken by | runs | harmful | found of harmful | delay | found of harmless | lost, median | first kind |")
    print("|---|---|---|---|---|---|---|---|")
    for way, names in ways.items():
        print(_way(way, names, histories, lost, found["rankwatch, default"]))
    if options.runs:
        _each(histories, lost, found["rankwatch, default"])


def _last_healthy(when: str, names: list[str], found: dict[str, Found], lost: dict[str, Harm]) -> str:
    """What the probe had lost at the newest healthy reading before the first critical alarm, of really harmful runs."""
    losses = []
    for name in names:
        if lost[name].really and found[name].critical:
            before = [step for step in found[name].healthy if step < found[name].critical[0]]
            losses += [lost[name].lost_at(before[-1])] if before else []
    where = {"middle": "broken in the middle", "start": "broken from the start"}[when]
    middle, most = (f"{median(losses):.0%}", f"{max(losses):.0%}") if losses else ("-", "-")
    return f"- {len(losses)} harmful runs {where}: {middle} in the median, {most} at most"


def _ours(word: str) -> Callable[[History], Found]:
    return lambda history: monitors.ours(history, default_detectors(word))


def _way(
    way: str, names: list[str], histories: dict[str, History], lost: dict[str, Harm], found: dict[str, Found]
) -> str:
    after = {n: [s for s in found[n].critical if s > histories[n].run.switch] for n in names}
    harmful = [n for n in names if lost[n].really]
    harmless = [n for n in names if not lost[n].really]
    delays = [after[n][0] - histories[n].run.switch for n in harmful if after[n]]
    delay = f"{median(delays):.0f} / {max(delays)}" if delays else "-"
    kinds = [next(a.kind for a in found[n].alarms if a.severity == "critical") for n in names if after[n]]
    kind = max(set(kinds), key=kinds.count) if kinds else "-"
    hits, others = sum(bool(after[n]) for n in harmful), sum(bool(after[n]) for n in harmless)
    share = median(lost[n].lost for n in names)
    warned = {n for n in names if not after[n] and any(s > histories[n].run.switch for s in found[n].warnings)}
    counts = f"{len(names)} | {len(harmful)} | {hits}{_also(warned & set(harmful))} | {delay}"
    counts += f" | {others} of {len(harmless)}{_also(warned & set(harmless))}"
    return f"| {way} | {counts} | {share:.0%} | {kind} |"


def _also(warned: set[str]) -> str:
    return f", {len(warned)} by a warning" if warned else ""


def _each(histories: dict[str, History], lost: dict[str, Harm], found: dict[str, Found]) -> None:
    for n, history in histories.items():
        told = [f"{a.severity} {a.kind} {a.level} {a.source} {a.layer} at {a.step}" for a in found[n].alarms]
        first = next((t for t in told if t.startswith("critical")), "-")
        second = next((t for t in told if t.startswith("warning")), "-")
        h = lost.get(n)
        harmed = (
            f"lost {h.lost:.0%} ({h.where}, best layer {h.lost_at_best:.0%}), half at {h.half_at}" if h else "healthy"
        )
        print(f"{n} [{history.run.part}] {harmed} | {first} | {second}")


if __name__ == "__main__":
    main()
