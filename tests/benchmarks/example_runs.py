"""The example's runs over several seeds: which are stopped, when, by what, and whether they were really worse.

    python tests/benchmarks/example_runs.py --out /tmp/runs                       # on synthesised speech
    python tests/benchmarks/example_runs.py --out /tmp/runs --folder ../shared/data/emodb --probe ../shared/data/fsdd

Each run is `examples/pretrain.py` in a process of its own. Printed per run: optimiser steps, readings, alarms, the
callback's share of the run's time, the last training loss, the last block's effective rank (after a third of the run,
and at the end), and, where fsdd is given, the accuracy of a closed-form linear probe on utterance means of the last
block: digits (official split), digits of speakers that the probe wasn't trained on, and speakers; chance is 0.10, 0.10
and 0.17. With `--at STEP` runs that weren't stopped are probed at the checkpoint nearest to that step.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ("data2vec", "data2vec_broken", "hubert")


def run(config: str, seed: int, out: Path, folder: str | None, options: list[str]) -> Path:
    """One training run; returns its folder."""
    place = out / f"{config}-{seed}"
    if (place / "done").exists():
        return place
    place.mkdir(parents=True, exist_ok=True)
    logger = {"class_path": "lightning.pytorch.loggers.TensorBoardLogger", "init_args": {"save_dir": str(place)}}
    logger["init_args"] |= {"name": "", "version": "logs"}
    command = [sys.executable, ROOT / "examples/pretrain.py", "fit", "--config", ROOT / f"configs/{config}.yaml"]
    command += ["--seed_everything", str(seed), "--trainer.logger", json.dumps(logger)]
    command += ["--trainer.default_root_dir", str(place), "--trainer.enable_progress_bar", "false", *options]
    command += ["--data.folder", folder] if folder else []
    with (place / "output.txt").open("w") as output:
        subprocess.run([str(part) for part in command], check=True, stdout=output, stderr=subprocess.STDOUT, cwd=place)
    (place / "done").touch()
    return place


def describe(place: Path, probe: Path | None, at: int | None) -> dict[str, Any]:
    """What a finished run's own files say."""
    records = [json.loads(line) for line in next(place.rglob("RankWatch.jsonl")).read_text().splitlines()]
    end = next(record for record in reversed(records) if record["record"] == "end")
    readings = [r for r in records if r["record"] == "reading" and r["source"] == "first_batches"]
    last = readings[-1]["layer"]
    curve = [(r["step"], r["effective_rank"]) for r in readings if (r["level"], r["layer"]) == ("frame", last)]
    critical = [a for a in end["alarms"] if a["severity"] == "critical"]
    checkpoint = next(iter(place.rglob("*-collapse-step=*.ckpt")), None) or checkpoint_at(place, at)
    found = {
        "run": place.name,
        "steps": end["step"],
        "stopped": end["stopped"],
        "readings": len({r["step"] for r in readings}),
        "critical": len(critical),
        "warnings": len(end["alarms"]) - len(critical),
        "layers": " ".join(sorted({a["layer"].rsplit(".", 1)[-1] for a in critical})),
        "share_%": round(100 * end["share"], 2),
        "loss": round(scalar(place, "train/loss"), 4),
        "rank_third": round(curve[len(curve) // 3][1], 1),
        "rank_end": round(curve[-1][1], 1),
    }
    return found | (probe_accuracy(checkpoint, probe) if probe is not None and checkpoint is not None else {})


def checkpoint_at(place: Path, step: int | None) -> Path | None:
    """The run's checkpoint nearest to a step, or its last."""
    paths = {int(p.stem.rsplit("=", 1)[-1].split("-")[0]): p for p in place.rglob("checkpoints/*.ckpt")}
    wanted = max(paths, default=0) if step is None else step
    return min(paths.items(), key=lambda item: abs(item[0] - wanted), default=(0, None))[1]


def scalar(place: Path, tag: str) -> float:
    """Mean of the last twenty values of a TensorBoard curve."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next(place.rglob("events.out*")).parent), size_guidance={"scalars": 0})
    events.Reload()
    values = [event.value for event in events.Scalars(tag)][-20:]
    return sum(values) / len(values)


def probe_accuracy(checkpoint: Path, fsdd: Path) -> dict[str, float]:
    """Accuracy of a linear probe on the last block's utterance means."""
    import torch

    from rankwatch.numerics import linear_probe

    rows = [row for i, row in enumerate(csv.DictReader((fsdd / "manifest.csv").open())) if i % 2 == 0]
    x = torch.cat(list(_means(checkpoint, fsdd, rows)))
    digit, speaker = (torch.tensor(_codes(rows, column)) for column in ("label", "speaker"))
    official = torch.tensor([row["split"] == "test" for row in rows])
    found = {"digit": linear_probe(x[~official], digit[~official], x[official], digit[official]).accuracy}
    unseen = []
    for one in range(0, 6, 2):  # two speakers are left out at a time
        test = (speaker == one) | (speaker == one + 1)
        unseen.append(linear_probe(x[~test], digit[~test], x[test], digit[test]).accuracy)
    found["digit_new"] = sum(unseen) / len(unseen)
    found["speaker"] = linear_probe(x[~official], speaker[~official], x[official], speaker[official]).accuracy
    return {name: round(value, 3) for name, value in found.items()}


def _codes(rows: list[dict[str, str]], column: str) -> list[int]:
    classes = sorted({row[column] for row in rows})
    return [classes.index(row[column]) for row in rows]


def _means(checkpoint: Path, fsdd: Path, rows: list[dict[str, str]]) -> Iterator[Any]:
    import torch

    sys.path.insert(0, str(ROOT / "examples"))
    from data2vec import Data2Vec
    from hubert import Hubert

    from rankwatch.extraction.inputs.audio_files import read_audio

    kind = Hubert if "units.centroids" in torch.load(checkpoint, weights_only=True)["state_dict"] else Data2Vec
    module = kind.load_from_checkpoint(checkpoint, map_location="cpu").eval()
    with torch.no_grad():
        for row in rows:
            wave = read_audio(fsdd / row["path"], 16_000, 15.0)[None]
            lengths = torch.tensor([wave.shape[1]])
            if kind is Hubert:
                hidden = module.model.wav2vec2.extract_features(wave, lengths)[0][-1]
            else:
                hidden = module.encoder(wave, lengths).features
            yield hidden[0].mean(dim=0, keepdim=True)


def main() -> None:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="finished runs there are not run again")
    parser.add_argument("--folder", help="audio to train on instead of synthesised speech")
    parser.add_argument("--probe", type=Path, help="fsdd's folder, for the linear probe")
    parser.add_argument("--at", type=int, help="probe the checkpoints nearest to this step, not the last ones")
    parser.add_argument("--configs", nargs="+", default=CONFIGS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side; the share is then an upper bound")
    parser.add_argument("--options", default="", help="passed on to pretrain.py")
    arguments = parser.parse_args()
    folder = str(Path(arguments.folder).resolve()) if arguments.folder else None
    if arguments.jobs > 1:
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // arguments.jobs))
    jobs = [(config, seed) for seed in arguments.seeds for config in arguments.configs]
    out = arguments.out.resolve()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        places = list(pool.map(lambda job: run(*job, out, folder, arguments.options.split()), jobs))
    found = [describe(place, arguments.probe, arguments.at) for place in sorted(places)]
    columns = list(dict.fromkeys(name for row in found for name in row))
    print("  ".join(f"{name:>10}" for name in columns))
    for row in found:
        print("  ".join(f"{row.get(name, '-')!s:>10}" for name in columns))


if __name__ == "__main__":
    main()
