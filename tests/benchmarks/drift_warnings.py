"""What `abrupt_change` says about the records of `drift_runs.py`: warnings of healthy runs, and what is found.

    python tests/benchmarks/drift_warnings.py FOLDER [--above 0.2 --times 4 --step-above 0.03 --step-times 2.5]

Runs are counted by the zoo's own split: those that thresholds may be chosen on apart from those that are held back.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import warnings
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from drift_runs import SPLIT_AT
from zoo_of_encoders.split import CHOSEN, part_of

from rankwatch.alarms.alarm_state import AlarmState
from rankwatch.alarms.detectors import AbruptChange
from rankwatch.readings.alarm import Alarm
from rankwatch.reporting.jsonl_records import read_jsonl


def alarms(files: list[Path], detector: AbruptChange) -> list[Alarm]:
    """Alarms of a run whose records stand in several files, one after the other."""
    state = AlarmState("first_batches", [detector])
    found: list[Alarm] = []
    last = -1
    for number, file in enumerate(files):
        rates = {}
        for line in file.read_text().splitlines():
            record = json.loads(line)
            if record["record"] == "summary":
                rates[record["step"]] = record["learning_rate"]
        for step, readings in itertools.groupby(read_jsonl(file), lambda one: one.step):
            after = step > SPLIT_AT if number + 1 == len(files) > 1 else step <= SPLIT_AT or len(files) == 1
            if after and step > last:
                last = step
                found += state.assess(step, list(readings), rates[step]).raised
    return [one for one in found if one.kind == detector.kind]


def main() -> None:
    """Count."""
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name in ("above", "times", "step_above", "step_times"):
        default = getattr(AbruptChange(), name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=default)
    parser.add_argument("--every", action="store_true", help="name each run")
    options = parser.parse_args()
    detector = AbruptChange(options.above, options.times, options.step_above, options.step_times)
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for whole in sorted(options.folder.glob("*.whole.jsonl")):
        name = whole.name.removesuffix(".whole.jsonl")
        architecture, method = name.split("-")[:2]
        part = "chosen on" if part_of(architecture, method) == CHOSEN else "held out"
        ways = {"healthy": [whole]}
        for way in ("reset", "swapped", "targets"):
            branch = options.folder / f"{name}.{way}.jsonl"
            ways |= {way: [whole, branch]} if branch.exists() else {}
        for way, files in ways.items():
            found = [one for one in alarms(files, detector) if way == "healthy" or one.step > SPLIT_AT]
            counts[part, way][0] += bool(found)
            counts[part, way][1] += 1
            if options.every:
                said = "; ".join(f"{one.step} {one.layer}" for one in found)
                print(f"{part:10} {name:45} {way:8} {said}")
    for (part, way), (warned, runs) in sorted(counts.items()):
        print(f"{part:10} {way:8} {warned} of {runs}")


if __name__ == "__main__":
    main()
