"""Write down what one version of rankwatch measures; runs inside of that version, and started by `compare_readings`.

    python reading_recorder.py example OUT pretrain.py fit --config FILE
    python reading_recorder.py zoo CHECKOUT OUT
    RANKWATCH_READINGS=FILE python -m pytest -p reading_recorder TESTS

The first leaves readings.jsonl, alarms.jsonl and weights.jsonl in OUT, the second alarms.jsonl. The version's own code
must be first on PYTHONPATH. Everything here uses only what every version has: the public classes `rankwatch.Reading`
and (since quantizers have a type of their own) `rankwatch.CodebookReading`, the JSONL records, and the zoo's scripts.
Numbers are written so that they come back to the last bit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import math
import os
import runpy
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

READINGS = "RANKWATCH_READINGS"
"""Environment variable: the file that readings are appended to."""

_ALARM = ("step", "kind", "severity", "level", "source", "layer", "since")
_TYPES = ("Reading", "CodebookReading")


def record_readings(path: Path) -> None:
    """From now on, append every reading that is constructed in this process to a file.

    Args:
        path: A JSON-lines file. Each line holds the type's name, the test that was running and the reading's fields;
            the protocol is left out, since the fields' names in it say which version made it.
    """
    import rankwatch

    lock = threading.Lock()  # readings are made in a background thread, too
    file = path.open("a")

    def record(reading: Any, kind: str) -> None:
        fields = {field.name: getattr(reading, field.name) for field in dataclasses.fields(reading)}
        fields.pop("protocol", None)
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
        line = json.dumps({"type": kind, "test": test, **fields}, default=_plain)
        with lock:
            file.write(line + "\n")
            file.flush()

    for name in _TYPES:
        if name in rankwatch.__all__:
            _wrap(getattr(rankwatch, name), record)


def _wrap(cls: Any, record: Any) -> None:
    original = cls.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        record(self, cls.__name__)

    cls.__init__ = init


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return sorted(value) if isinstance(value, (set, frozenset)) else float(value)


def pytest_runtest_setup(item: Any) -> None:
    """Before each test and the fixtures that it is the first to need: tests that don't seed are repeatable, too."""
    import random

    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def pytest_runtest_call(item: Any) -> None:
    """Which readings are made depends on no clock: each waits for its decomposition, none is skipped to save time."""
    for name, module in list(sys.modules.items()):  # in whichever module this version has these
        if name.startswith("rankwatch."):
            for constant, value in (("WAITS_ON_CPU", True), ("_ALLOWANCE", math.inf)):
                if hasattr(module, constant):
                    setattr(module, constant, value)


def write_lines(path: Path, records: Iterable[Any]) -> None:
    """One JSON document per line."""
    path.write_text("".join(json.dumps(record, default=_plain) + "\n" for record in records))


def run_example(out: Path, script: Path, arguments: list[str]) -> None:
    """Run the example's script, and leave its readings, alarms and weights in a folder."""
    out.mkdir(parents=True, exist_ok=True)
    record_readings(out / "readings.jsonl")
    sys.path.insert(0, str(script.resolve().parent))
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")
    lines = [json.loads(line) for file in sorted(out.rglob("RankWatch.jsonl")) for line in file.open()]
    alarms = [line for line in lines if line.get("record") == "alarm"]
    write_lines(out / "alarms.jsonl", ({name: alarm[name] for name in _ALARM} for alarm in alarms))
    write_lines(out / "weights.jsonl", weights(out))


def weights(folder: Path) -> list[dict[str, Any]]:
    """Step and SHA-256 of the model's weights, for every checkpoint below a folder."""
    import torch

    found = set()
    for file in folder.rglob("*.ckpt"):
        content = torch.load(file, map_location="cpu", weights_only=False)
        digest = hashlib.sha256()
        for name, tensor in sorted(content["state_dict"].items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
        found.add((int(content["global_step"]), digest.hexdigest()))
    return [{"step": step, "sha256": digest} for step, digest in sorted(found)]


def replay_zoo(checkout: Path, out: Path) -> None:
    """Replay the zoo's recorded histories through a version's own detectors, and write the alarms of each."""
    zoo = checkout / "tests" / "benchmarks" / "zoo"
    sys.path[:0] = [str(checkout), str(zoo)]
    monitors, histories = importlib.import_module("monitors"), importlib.import_module("record")
    records = []
    for path in sorted((zoo / "histories").glob("*.gz")):
        found = monitors.ours(histories.read(path))
        alarms = [{name: getattr(alarm, name) for name in _ALARM} for alarm in found.alarms]
        records.append({"history": path.name, "alarms": alarms, "healthy": found.healthy})
    out.mkdir(parents=True, exist_ok=True)
    write_lines(out / "alarms.jsonl", records)


if os.environ.get(READINGS):
    record_readings(Path(os.environ[READINGS]))

if __name__ == "__main__":
    mode, *rest = sys.argv[1:]
    if mode == "example":
        run_example(Path(rest[0]), Path(rest[1]), rest[2:])
    else:
        replay_zoo(Path(rest[0]), Path(rest[1]))
