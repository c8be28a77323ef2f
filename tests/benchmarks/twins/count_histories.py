"""How often `rankwatch compare` claims a difference between runs of the zoos, by their records.

    python tests/benchmarks/twins/count_histories.py

Twins are plain runs of two seeds. They are compared on the set that all runs of a zoo share, sounds that are no speech.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_BENCHMARKS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_BENCHMARKS), str(_BENCHMARKS / "zoo")]

import record as older_record  # noqa: E402
from zoo_of_encoders.record import read  # noqa: E402
from zoo_of_encoders.split import CHOSEN  # noqa: E402

from rankwatch.comparison.compare_runs import compare_runs  # noqa: E402
from rankwatch.comparison.comparison_result import Comparison  # noqa: E402
from rankwatch.comparison.differences.difference import ALL_LAYERS  # noqa: E402
from rankwatch.comparison.differences.verdicts import HIGHER, LOWER  # noqa: E402
from rankwatch.readings.reading import Reading  # noqa: E402
from rankwatch.reporting.recorded.from_readings import run_from_readings  # noqa: E402
from rankwatch.reporting.recorded.recorded_run import RecordedRun  # noqa: E402


def recorded(readings: Iterable[Reading], source: str, name: str) -> RecordedRun:
    """A run as its file would tell it, of one evaluation set."""
    return run_from_readings([r for r in readings if r.source == source], name=name)


def newer(folder: Path) -> tuple[dict[str, RecordedRun], dict[str, str]]:
    """Runs of the zoo of encoders, and which part of the split each is in."""
    runs, parts = {}, {}
    for path in sorted(folder.glob("*.jsonl.gz")):
        history = read(path)
        if not history.run.long:
            readings = [dataclasses.replace(r, utterances=64) for step in history.by_step.values() for r in step]
            runs[history.run.name] = recorded(readings, "sounds", history.run.name)
            parts[history.run.name] = history.run.part
    return runs, parts


def older(folder: Path, variants: tuple[str, ...]) -> dict[str, RecordedRun]:
    """Runs of the older zoo: five methods, eight seeds."""
    runs = {}
    for path in sorted(folder.glob("*.jsonl.gz")):
        if any(variant in path.name for variant in variants):
            history = older_record.read(path)
            readings = [r for step in history.readings.by_step.values() for r in step]
            runs[history.run.name] = recorded(readings, "music", history.run.name)
    return runs


def claims(found: Comparison) -> tuple[int, int]:
    """Layers and levels that are called different, and all of them."""
    layers = [d for d in found.differences if d.place.layer != ALL_LAYERS]
    return sum(d.verdict in (HIGHER, LOWER) for d in layers), len(layers)


def counted(pairs: Iterable[tuple[RecordedRun, RecordedRun]]) -> str:
    """One row: layers and levels, pairs with any, pairs that part, pairs that differ at all."""
    found = [compare_runs(pair) for pair in pairs]
    each = [claims(one) for one in found]
    layers = sum(of for _, of in each)
    if not layers:
        return "-"
    differing = sum(bool(d.differs) for one in found for d in one.differences if d.place.layer != ALL_LAYERS)
    parted = sum(any(p.apart_from is not None for p in one.partings) for one in found)
    claimed, some = sum(n for n, _ in each), sum(n > 0 for n, _ in each)
    return (
        f"{claimed} of {layers} ({claimed / layers:.1%}) | {some} of {len(found)} | {parted} of {len(found)} | "
        f"{differing / layers:.0%}"
    )


def groups_counted(one: Mapping[str, RecordedRun], other: Mapping[str, RecordedRun]) -> str:
    """Claims between two groups of runs."""
    runs = [*one.values(), *other.values()]
    found = compare_runs(runs, groups={"one": list(one), "other": list(other)})
    claimed, layers = claims(found)
    whole = [d for d in found.differences if d.place.layer == ALL_LAYERS]
    return f"{claimed} of {layers}, over all layers {sum(d.verdict in (HIGHER, LOWER) for d in whole)} of {len(whole)}"


def main() -> None:
    """Print the tables."""
    runs, parts = newer(_BENCHMARKS / "zoo_of_encoders" / "histories")
    head = ["runs", "layers and levels claimed", "pairs with any", "pairs that part", "layers that differ at all"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    twins = [(n, n[:-1] + "1") for n in runs if n.endswith("plain-healthy-0") and n[:-1] + "1" in runs]
    for title, chosen in (("twins, chosen on", True), ("twins, held out", False)):
        pairs = [(runs[a], runs[b]) for a, b in twins if (parts[a] == CHOSEN) == chosen]
        print(f"| {title} | {counted(pairs)} |")
    for variant in sorted({n.rsplit("-", 3)[1] for n in runs}):
        pairs = []
        for n in runs:
            architecture, method, kind, _, _ = n.rsplit("-", 4) if n.count("-") == 4 else ("", "", "", "", "")
            plain = f"{architecture}-{method}-plain-healthy-0"
            if kind == variant and variant not in ("plain", "narrow", "wide") and plain in runs and parts[n] != CHOSEN:
                pairs.append((runs[n], runs[plain]))
        if pairs:
            print(f"| {variant}, held out | {counted(pairs)} |")
    old = older(_BENCHMARKS / "zoo" / "histories", ("plain-healthy", "low_rate", "no_stop", "fast_teacher"))
    methods = sorted({n.split("-")[0] for n in old})
    for method in methods:
        plain = {n: run for n, run in old.items() if n.startswith(f"{method}-plain")}
        print(f"| {method}, eight seeds, all pairs | {counted(itertools.combinations(plain.values(), 2))} |")
        low = {n: run for n, run in old.items() if n.startswith(f"{method}-low_rate")}
        print(
            f"| {method}, a third of the rate | {counted(itertools.product(low.values(), plain.values()))} |",
            flush=True,
        )
        names, lower = list(plain), list(low)
        for title, one, other in (
            ("3 seeds against 3 others", _of(plain, names[:3]), _of(plain, names[3:6])),
            ("4 seeds against 4 others", _of(plain, names[:4]), _of(plain, names[4:])),
            ("2 seeds at a third of the rate against 2", _of(low, lower[:2]), _of(plain, names[:2])),
            ("4 seeds at a third of the rate against 4", _of(low, lower), _of(plain, names[4:])),
        ):
            print(f"{method}: {title}: {groups_counted(one, other)}")
        for way in ("no_stop_gradient-start", "fast_teacher-start"):
            broken = {n: run for n, run in old.items() if n.startswith(f"{method}-{way}")}
            if broken:
                print(f"| {method}, {way} | {counted(itertools.product(broken.values(), plain.values()))} |")


def _of(runs: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    return {name: runs[name] for name in names}


if __name__ == "__main__":
    main()
