"""What `abrupt_change` says about twenty checkpoints, or fewer, of the study's models: healthy ones, and broken ones.

    python tests/benchmarks/sparse_checkpoints.py --data ../shared/data --runs FOLDER [--every]

`FOLDER` is what `study/make.py` was given as ``--out``, with two runs in it at least. Each checkpoint is read once
(`rankwatch.replay`, the set ``unseen``). Then readings are put together anew, without any learning rate: whole runs on
grids of all checkpoints and of a part of them, and from each of several checkpoints on those of the other seed or,
where there is none, of another method (``swapped``), or one checkpoint whose second block begins anew (``reset``),
compared with the one before it.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before torch is imported
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch  # noqa: E402
from study.catalogue import CHECKPOINTS  # noqa: E402
from study.sets import ROWS, encoder, evaluation_sets  # noqa: E402

from rankwatch import replay  # noqa: E402
from rankwatch.alarms.alarm_state import AlarmState  # noqa: E402
from rankwatch.alarms.detectors import AbruptChange  # noqa: E402
from rankwatch.readings.drift.drift_memory import DriftMemory  # noqa: E402

CHOSEN_ON = ("hubert", "bestrq", "wav2vec2")
"""Methods whose stored readings the rule was chosen on."""

GRIDS = {
    "all": CHECKPOINTS,
    "every second": CHECKPOINTS[::2],
    "about every 200": (0, 200, 400, 600, 850, 1000, 1150, 1300, 1450, 1600, 1800, 2000),
    "about every 300": (0, 300, 600, 850, 1150, 1450, 1800, 2000),
}
BROKEN_AT = (600, 850, 1150, 1450, 1800)
"""Steps at which another seed's weights or a block without training come; on each grid those that it has."""

RESET = "blocks.1."
Reading = tuple[Any, Any, int, bool]  # the reading, its rows, the seed of the projection, whether the warm-up is over


def readings(checkpoints: Sequence[Path], data: Path, folder: Path) -> dict[int, list[Reading]]:
    """What `DriftMemory.take` is given while checkpoints are replayed, by step."""
    found: dict[int, list[Reading]] = defaultdict(list)

    def take(memory: DriftMemory, reading: Any, rows: Any, *, seed: int, settled: bool) -> Any:
        found[reading.step].append((reading, rows, seed, settled))
        return reading

    sets = {"unseen": evaluation_sets(data, folder)["unseen"]}
    with patch.object(DriftMemory, "take", take), tempfile.TemporaryDirectory() as out:
        replay(encoder(), list(checkpoints), sets, out=out, rows=ROWS, device="cpu", say=lambda line: None)
    return found


def alarms(sequence: Iterator[list[Reading]], detector: AbruptChange) -> list[tuple[int, str]]:
    """Steps and layers that the detector names, in readings that are put together."""
    memory, state, found = DriftMemory(), AlarmState("unseen", [detector]), []
    for step in sequence:
        settled = state.has_settled(None)
        drifted = [memory.take(one, rows, seed=seed, settled=settled) for one, rows, seed, _ in step]
        raised = state.assess(drifted[0].step, drifted, None).raised
        found += [(one.step, f"{one.level} {one.layer}") for one in raised if one.kind == detector.kind]
    return found


def with_reset(runs: Path, name: str, step: int, folder: Path) -> Path:
    """A checkpoint whose second block is as it was before training."""
    stored = torch.load(runs / name / f"step-{step}.pt", weights_only=True)
    first = torch.load(runs / name / "step-0.pt", weights_only=True)["state_dict"]
    stored["state_dict"] |= {key: value for key, value in first.items() if key.startswith(RESET)}
    path = folder / f"step-{step}.pt"
    torch.save(stored, path)
    return path


def cases(
    own: dict[int, list[Reading]], other: dict[int, list[Reading]], resets: dict[int, list[Reading]]
) -> Iterator[tuple[str, str, int, list[list[Reading]]]]:
    """What is done, on which grid, at which step, and the readings."""
    for grid, steps in GRIDS.items():
        yield "healthy", grid, -1, [own[step] for step in steps]
        for at in BROKEN_AT:
            if at in steps:
                until = [step for step in steps if step < at]
                yield "swapped", grid, at, [*(own[s] for s in until), *(other[s] for s in steps if s >= at)]
                yield "reset", grid, at, [*(own[s] for s in until), resets[at]]


def main() -> None:
    """Count."""
    warnings.filterwarnings("ignore")
    logging.getLogger("rankwatch").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--every", action="store_true", help="name each run")
    options = parser.parse_args()
    data, runs = options.data.resolve(), options.runs
    names = sorted(path.parent.name for path in runs.glob("*/loss.csv"))
    counts: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    with tempfile.TemporaryDirectory() as folder:
        read = {
            name: readings([runs / name / f"step-{step}.pt" for step in CHECKPOINTS], data, Path(folder))
            for name in names
        }
        for name in names:
            resets = readings([with_reset(runs, name, step, Path(folder)) for step in BROKEN_AT], data, Path(folder))
            others = sorted((other for other in names if other != name), key=lambda other: other[:-2] != name[:-2])
            other = read[others[0]]
            part = "chosen on" if name[:-2] in CHOSEN_ON else "held out"
            for way, grid, at, sequence in cases(read[name], other, resets):
                found = alarms(iter(sequence), AbruptChange())
                said = [f"{step} {layer}" for step, layer in found if at in (-1, step)]
                counts[part, way, grid][0] += bool(said)
                counts[part, way, grid][1] += 1
                if options.every:
                    print(f"{name:12} {way:8} {grid:16} {at:5} {'; '.join(said)}", flush=True)
    for (part, way, grid), (told, of) in sorted(counts.items()):
        print(f"{part:10} {way:8} {grid:16} {told} of {of}")


if __name__ == "__main__":
    main()
