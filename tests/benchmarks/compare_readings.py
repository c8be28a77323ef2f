"""Compare what two versions of rankwatch measure, to the last digit: numbers must not move unannounced.

    python tests/benchmarks/compare_readings.py BASE [HEAD] [--out DIR] [--parts examples recipes zoo] [--steps 600]

BASE and HEAD are commits, or folders that hold a checkout; HEAD is by default what is committed now. In each of them,
on one thread:

- ``examples``: the example's runs (data2vec, data2vec without a teacher of its own, HuBERT; seeds 0 to 2), each for
  `--steps` optimiser steps and with readings at fixed steps (``max_overhead: null``). Compared are all readings, all
  alarms, and the model's weights in every checkpoint: these say that training is the same bit by bit.
- ``recipes``: the tests of the recipes and of the Lightning callback. Compared are the readings of each test.
- ``zoo``: the recorded histories of `tests/benchmarks/zoo`, judged by each version's detectors. Compared are the
  alarms, and the steps that count as healthy.

Sources, metrics and kinds of alarm that were renamed are brought to one name first (`reading_records`). Each part ends
in a line such as ``examples: 890 readings compared, 0 differ``; what differs is listed (the first `--show`), and the
exit status is 1. What is meant to differ belongs in CHANGELOG.md.

Both versions run in this Python environment, so what differs between them is rankwatch and not torch. Recordings of a
commit are left in ``--out`` and used again. On two cores the nine runs take about ten minutes for each version, the
recipes two, the zoo one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from reading_records import Difference, canonical_alarm, canonical_reading, compare, load, split_by_test

HERE = Path(__file__).resolve().parent
RECORDER = HERE / "reading_recorder.py"
CONFIGS = ("data2vec", "data2vec_broken", "hubert")
SEEDS = (0, 1, 2)
PARTS = ("examples", "recipes", "zoo")
TESTS = ("tests/recipes", "tests/test_lightning.py")
OPTIONS = "-m 'not slow and not benchmark' --timeout=600"
"""In place of a version's own, which may spread tests over processes that would all write to one file."""


@dataclass(frozen=True)
class Version:
    """One of the two versions.

    Attributes:
        name: As the user called it.
        checkout: Its files.
        records: Where its recordings are.
    """

    name: str
    checkout: Path
    records: Path

    def run(self, log: Path, *command: str, failures_allowed: bool = False, **environment: str) -> None:
        """Run Python on this version's code, on one thread.

        Args:
            log: File for everything that it prints.
            command: Arguments of Python.
            failures_allowed: Whether status 1 (of pytest: some tests have failed) is only printed. The readings of a
                test count all the same: often it is only a message that its assertion is about.
            environment: Further environment variables.

        Raises:
            RuntimeError: If it fails otherwise, with the log's last lines.
        """
        paths = os.pathsep.join([str(self.checkout), str(HERE)])
        ours = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as file:
            done = subprocess.run(
                [sys.executable, *command], cwd=self.checkout, env={**os.environ, **ours}, stdout=file, stderr=file
            )
        lines = log.read_text().splitlines()
        if failures_allowed and done.returncode == 1:
            print(f"{self.name}: {lines[-1]}")
        elif done.returncode:
            end = "\n".join(lines[-15:])
            raise RuntimeError(f"{self.name}: {' '.join(command)} failed with status {done.returncode}:\n{end}")

    def record_examples(self, out: Path, steps: int, jobs: int) -> None:
        """All runs of the example."""
        runs = [(config, seed) for config in CONFIGS for seed in SEEDS]
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda run: self._record_example(out / f"{run[0]}-{run[1]}", *run, steps), runs))

    def _record_example(self, out: Path, config: str, seed: int, steps: int) -> None:
        path = out / "config.yaml"
        out.mkdir(parents=True)
        path.write_text(yaml.safe_dump(adapted(self.checkout / "configs" / f"{config}.yaml", out, seed, steps)))
        script = str(self.checkout / "examples" / "pretrain.py")
        self.run(out / "log", str(RECORDER), "example", str(out), script, "fit", "--config", str(path))
        shutil.rmtree(out / "runs")  # checkpoints: their weights are hashed

    def record_recipes(self, out: Path) -> None:
        """Readings that are made while the recipes' tests run."""
        out.mkdir(parents=True)
        pytest = ("-m", "pytest", "-q", "-p", "reading_recorder", "-o", f"addopts={OPTIONS}", *TESTS)
        self.run(out / "log", *pytest, failures_allowed=True, RANKWATCH_READINGS=str(out / "readings.jsonl"))

    def record_zoo(self, out: Path) -> None:
        """Alarms that the detectors raise on the recorded histories."""
        self.run(out / "log", str(RECORDER), "zoo", str(self.checkout), str(out))

    def record(self, part: str, steps: int, jobs: int) -> Path:
        """Record one part, unless that was done before.

        Returns:
            The folder with the recordings, which is complete.
        """
        name = f"{part}-{steps}" if part == "examples" else part
        done, work = self.records / name, self.records / f"{name}.part"
        if not done.exists():
            shutil.rmtree(work, ignore_errors=True)
            print(f"recording {part} of {self.name} ...", flush=True)
            if part == "examples":
                self.record_examples(work, steps, jobs)
            elif part == "recipes":
                self.record_recipes(work)
            else:
                self.record_zoo(work)
            work.rename(done)
        return done


def adapted(config: Path, out: Path, seed: int, steps: int) -> dict[str, Any]:
    """A checkout's own YAML with another seed and length, its files in `out`, and readings at fixed steps.

    Args:
        config: The file; whatever the callback's arguments are called in this version stays as it is.
        out: Folder of the run.
        seed: Seed of everything.
        steps: Optimiser steps.

    Returns:
        The configuration.
    """
    content: dict[str, Any] = yaml.safe_load(config.read_text())
    content["seed_everything"] = seed
    trainer = content["trainer"]
    trainer["max_steps"] = steps
    trainer["default_root_dir"] = trainer["logger"]["init_args"]["save_dir"] = str(out / "runs")
    for callback in trainer["callbacks"]:
        if callback["class_path"] == "rankwatch.RankWatch":
            callback["init_args"]["max_overhead"] = None  # else how often it reads depends on the machine's speed
    return content


@contextlib.contextmanager
def version(name: str, out: Path) -> Iterator[Version]:
    """A version's checkout: the folder itself, or a worktree of the commit that is removed at the end.

    Yields:
        The version.
    """
    if Path(name).is_dir():
        records = out / f"checkout-{Path(name).resolve().name}"
        shutil.rmtree(records, ignore_errors=True)  # a folder's files may have changed
        yield Version(name, Path(name).resolve(), records)
        return
    git = ("git", "-C", str(HERE))
    commit = subprocess.run([*git, "rev-parse", f"{name}^{{commit}}"], capture_output=True, text=True, check=True)
    commit_id = commit.stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "rankwatch"
        subprocess.run([*git, "worktree", "add", "--quiet", "--detach", str(tree), commit_id], check=True)
        try:
            yield Version(name, tree, out / commit_id[:12])
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(tree)], check=True)


def compare_part(part: str, base: Path, head: Path) -> list[Difference]:
    """Everything that was recorded of one part."""
    if part == "examples":
        return _compare_examples(base, head)
    if part == "recipes":
        readings = [[canonical_reading(line) for line in load(side / "readings.jsonl")] for side in (base, head)]
        old, new, sentence = split_by_test(*readings)
        if sentence:
            print(f"recipes: {sentence}")
        return [compare("readings", old, new, ("test", "step", "source", "level", "layer"))]
    alarms, healthy = [], []
    for side in (base, head):
        histories = load(side / "alarms.jsonl")
        alarms.append([canonical_alarm({**a, "history": h["history"]}) for h in histories for a in h["alarms"]])
        healthy.append([{"history": h["history"], "healthy": h["healthy"]} for h in histories])
    return [
        compare("histories (their healthy steps)", *healthy, ("history",)),
        compare("alarms", *alarms, ("history", "step", "source", "level", "layer")),
    ]


def _compare_examples(base: Path, head: Path) -> list[Difference]:
    found = [Difference("readings"), Difference("alarms"), Difference("checkpoints' weights")]
    for name in sorted({path.name for side in (base, head) for path in side.iterdir()}):
        sides = [side / name for side in (base, head)]
        readings = [[canonical_reading(line) for line in load(side / "readings.jsonl")] for side in sides]
        alarms = [[canonical_alarm(line) for line in load(side / "alarms.jsonl")] for side in sides]
        hashes = [load(side / "weights.jsonl") for side in sides]
        curve = ("step", "source", "level", "layer")
        here = [
            compare("", *([{**one, "run": name} for one in side] for side in records), ("run", *key))
            for records, key in ((readings, curve), (alarms, (*curve, "kind")), (hashes, ("step",)))
        ]
        found = [total + one for total, one in zip(found, here, strict=True)]
    return found


def main() -> int:
    """Record both versions and print what differs.

    Returns:
        The exit status: 1 where anything differs.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="commit, or folder with a checkout")
    parser.add_argument("head", nargs="?", default="HEAD", help="likewise (default: HEAD)")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "rankwatch-readings")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--steps", type=int, default=600, help="optimiser steps of each example")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="examples that run at the same time")
    parser.add_argument("--show", type=int, default=10, help="differences that are listed for each part")
    arguments = parser.parse_args()
    differ = False
    with version(arguments.base, arguments.out) as base, version(arguments.head, arguments.out) as head:
        for part in arguments.parts:
            folders = [one.record(part, arguments.steps, arguments.jobs) for one in (base, head)]
            for found in compare_part(part, *folders):
                print(f"{part}: {found}", flush=True)
                for line in found.examples[: arguments.show]:
                    print(f"  {line}")
                differ = differ or bool(found.examples) or not found.compared
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
