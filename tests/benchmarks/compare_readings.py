"""Compare what two versions of rankwatch measure, to the last digit: numbers must not move unannounced.

    python tests/benchmarks/compare_readings.py BASE [HEAD] [--parts zoo recipes examples]

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
commit are left in ``--out`` and used again. On two cores the nine runs take about twelve minutes for each version, the
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
from collections.abc import Callable, Iterator, Sequence
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
PARTS = ("zoo", "recipes", "examples")
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

    def record_example(self, out: Path, config: str, seed: int, steps: int) -> None:
        """One run of the example."""
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

    def once(self, name: str, record: Callable[[Path], None]) -> Path:
        """Record into a folder, unless that was done before.

        Args:
            name: Of the folder.
            record: Fills the folder that it is called with.

        Returns:
            The folder with the recordings, which is complete.
        """
        done, work = self.records / name, self.records / f"{name}.part"
        if not done.exists():
            shutil.rmtree(work, ignore_errors=True)
            print(f"recording {name} of {self.name} ...", flush=True)
            record(work)
            work.rename(done)
        return done


Versions = tuple[Version, Version]
"""Base and head."""


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


def compare_examples(versions: Versions, runs: Sequence[tuple[str, int]], steps: int, jobs: int) -> list[Difference]:
    """Readings, alarms and weights of the example's runs.

    Args:
        versions: Base and head.
        runs: Config and seed of each run.
        steps: Optimiser steps.
        jobs: Runs at the same time.

    Returns:
        What differs.
    """

    def record(one: Version, config: str, seed: int) -> Path:
        name = f"{config}-{seed}-{steps}-steps"
        return one.once(name, lambda out: one.record_example(out, config, seed, steps))

    with ThreadPoolExecutor(jobs) as pool:
        futures = [[pool.submit(record, one, *run) for one in versions] for run in runs]
        folders = [[future.result() for future in pair] for pair in futures]
    found = [Difference("readings"), Difference("alarms"), Difference("checkpoints' weights")]
    curve = ("run", "step", "source", "level", "layer")
    for (config, seed), sides in zip(runs, folders, strict=True):
        name = {"run": f"{config}-{seed}"}
        readings = [[canonical_reading(line) | name for line in load(side / "readings.jsonl")] for side in sides]
        alarms = [[canonical_alarm(line) | name for line in load(side / "alarms.jsonl")] for side in sides]
        hashes = [[line | name for line in load(side / "weights.jsonl")] for side in sides]
        found[0] += compare("readings", readings, curve)
        found[1] += compare("alarms", alarms, (*curve, "kind"))
        found[2] += compare("weights", hashes, ("run", "step"))
    return found


def compare_recipes(versions: Versions) -> list[Difference]:
    """Readings of the recipes' tests."""
    sides = [one.once("recipes", one.record_recipes) for one in versions]
    readings = [[canonical_reading(line) for line in load(side / "readings.jsonl")] for side in sides]
    old, new, sentence = split_by_test(*readings)
    if sentence:
        print(f"recipes: {sentence}")
    return [compare("readings", (old, new), ("test", "step", "source", "level", "layer"))]


def compare_zoo(versions: Versions) -> list[Difference]:
    """Alarms on the recorded histories, and steps that count as healthy."""
    sides = [load(one.once("zoo", one.record_zoo) / "alarms.jsonl") for one in versions]
    alarms = [[canonical_alarm(a) | {"history": h["history"]} for h in side for a in h["alarms"]] for side in sides]
    healthy = [[{"history": h["history"], "healthy": h["healthy"]} for h in side] for side in sides]
    return [
        compare("histories (their healthy steps)", healthy, ("history",)),
        compare("alarms", alarms, ("history", "step", "source", "level", "layer", "kind")),
    ]


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
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=CONFIGS, help="of the examples")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, help="of the examples")
    parser.add_argument("--steps", type=int, default=600, help="optimiser steps of each example")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="examples that run at the same time")
    parser.add_argument("--show", type=int, default=10, help="differences that are listed for each part")
    arguments = parser.parse_args()
    runs = [(config, seed) for seed in arguments.seeds for config in arguments.configs]
    differ = False
    with version(arguments.base, arguments.out) as base, version(arguments.head, arguments.out) as head:
        versions = (base, head)
        parts: dict[str, Callable[[], list[Difference]]] = {
            "zoo": lambda: compare_zoo(versions),
            "recipes": lambda: compare_recipes(versions),
            "examples": lambda: compare_examples(versions, runs, arguments.steps, arguments.jobs),
        }
        for part in arguments.parts:
            for found in parts[part]():
                print(f"{part}: {found}", flush=True)
                for line in found.examples[: arguments.show]:
                    print(f"  {line}")
                differ = differ or bool(found.examples)
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
