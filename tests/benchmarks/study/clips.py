"""How many clips a rank needs: checkpoints read from draws of 8 clips up to all of each kind of sound.

    python tests/benchmarks/study/clips.py --data ../shared/data --out FOLDER [--seeds 0]

`FOLDER` is that of `make.py`; models of these seeds that aren't in it are trained. What is read goes into
`results/clips` beside this file, of which `clip_tables.py` makes the tables. It can be interrupted and begun again, and
several processes may work on one folder.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import math
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before torch is imported
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402
import torch  # noqa: E402

import study  # noqa: E402, F401
from rankwatch import AudioFolder, replay  # noqa: E402
from rankwatch.numerics import Sample, estimate_from_sample  # noqa: E402
from rankwatch.readings.reading_from_sample import measure  # noqa: E402
from study.catalogue import CHECKPOINTS, METHODS, SEEDS, STEPS, WARM_UP, Run, catalogue  # noqa: E402
from study.make import make_missing  # noqa: E402
from study.sets import ROWS, encoder, evaluation_sets, forward  # noqa: E402
from study.sounds import SILENT, alarms, intermittent_clips, short_clips  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "clips"
SPEECH = "unseen"
SHORT = (0.1, 0.3, 1.0)
SIZES = {8: 4, 16: 4, 32: 4, 64: 2, 96: 2}
"""How many draws there are of so many clips, where the kind has as many."""
POOL = 192
"""Clips of each generated kind, so that there are two draws of 96 without a common one. Pieces are of 126 recordings,
so that a recording may have a piece in either."""
STEPS_READ = tuple(step for step in CHECKPOINTS if step >= WARM_UP * STEPS)[::2]
"""From the end of the warm-up on; every second checkpoint, since each is read a hundred times over."""
LAYERS = ("blocks.0", "blocks.2", "blocks.4")
Keys = frozenset[int]


@dataclass(frozen=True)
class Draw:
    """Some of the clips of a kind.

    Attributes:
        clips: How many were asked for.
        number: Which of the draws of so many; no two of them have a clip in common.
        rest: Whether these are the other clips, those that the draw has left.
        keys: The utterances.
    """

    clips: int
    number: int
    rest: bool
    keys: Keys


def draws(keys: Keys, seed: Sequence[int], with_rest: bool) -> Iterator[Draw]:
    """Disjoint draws of each size, the same ones for the same utterances and seed; all clips come last.

    Args:
        keys: All utterances of a kind.
        seed: Other models have other draws, so that no single one decides.
        with_rest: Whether to give what the first draw of each size has left, too.

    Yields:
        The draws.
    """
    for size, most in SIZES.items():
        order = np.random.default_rng([size, *seed]).permutation(sorted(keys)).tolist()
        for number in range(min(most, len(order) // size)):
            chosen = frozenset(order[number * size : (number + 1) * size])
            yield Draw(size, number, False, chosen)
            if with_rest and number == 0:
                yield Draw(size, number, True, keys - chosen)
    yield Draw(len(keys), 0, False, keys)


def sounds(data: Path, folder: Path) -> dict[str, Any]:
    """All kinds of sound by name, as `rankwatch.replay` takes them; those that are generated go into a folder."""
    more = folder / "clips"
    paths = {f"clips_of_{s:g}_s": short_clips(data, more / f"of_{s:g}_s", s, POOL) for s in SHORT}
    paths |= {f"silent_{s:.0%}".rstrip("%"): intermittent_clips(data, more / f"{s:.0%}", s, POOL) for s in SILENT}
    paths |= {"music": data / "ood_music_cc0" / "audio", "alarms": alarms(more / "alarms", POOL).parent}
    common: dict[str, Any] = {"forward": forward, "max_seconds": 2.5}
    speech = evaluation_sets(data, folder / "sets")[SPEECH]
    return {SPEECH: speech} | {name: AudioFolder(path, **common) for name, path in paths.items()}


def estimates(sample: Sample, seed: Sequence[int], with_rest: bool) -> Iterator[tuple[Draw, float, float]]:
    """The rank from each draw, as a reading of these clips alone would estimate it, and its interval's half width.

    Args:
        sample: Rows of all clips.
        seed: As for `draws`.
        with_rest: Likewise.

    Yields:
        The draw, the effective rank, and half of the 90 % interval of its logarithm, NaN where there is none.

    Raises:
        ValueError: If the rows were projected, since of such rows no sample can be made again.
    """
    if sample.k is not None:
        raise ValueError("rows that were projected can't be made a sample of again")
    groups = sample.groups.numpy()
    for draw in draws(frozenset(groups.tolist()), seed, with_rest):
        chosen = torch.from_numpy(np.isin(groups, list(draw.keys)))
        part = Sample.from_rows(sample.rows[chosen], sample.groups[chosen], rounding=sample.rounding[chosen])
        found = estimate_from_sample(part)
        yield draw, found.value, math.nan if found.error is None else found.error.half_width


def read(run: Run, data: Path, runs: Path) -> None:
    """Read the checkpoints of a run from the end of the warm-up on, and store the curves.

    Args:
        run: Which one; it has been trained.
        data: The folder of corpora.
        runs: The folder of all runs.
    """
    curves: dict[tuple[str, str, str, int, int, bool], list[tuple[float, float]]] = defaultdict(list)

    def measured(sample: Sample, *, step: int, layer: str, protocol: Any) -> Any:
        for draw, value, half in estimates(sample, seed, protocol.source == SPEECH):
            curves[protocol.source, protocol.level, layer, draw.clips, draw.number, draw.rest].append((value, half))
        return measure(sample, step=step, layer=layer, protocol=protocol)

    seed = METHODS.index(run.method), run.seed
    checkpoints = [runs / run.name / f"step-{step}.pt" for step in STEPS_READ]
    sets = sounds(data, runs)
    with tempfile.TemporaryDirectory() as out, patch("rankwatch.readings.layer_readings.measure", measured):
        found = replay(
            encoder(),
            checkpoints,
            sets,
            out=out,
            rows=ROWS,
            layers=list(LAYERS),
            device="cpu",
            say=lambda line: None,
        )
    complete = tuple(found.steps) == STEPS_READ and {len(curve) for curve in curves.values()} == {len(STEPS_READ)}
    if found.failed or not complete:
        raise RuntimeError(f"{run.name}: read {found.steps}, failed {found.failed}")
    lines = [json.dumps({"run": run.name, "steps": STEPS_READ})]
    for (source, level, layer, clips, number, rest), curve in curves.items():
        place = {"source": source, "level": level, "layer": layer, "clips": clips, "draw": number, "rest": rest}
        numbers = {"rank": [_short(v, 4) for v, _ in curve], "half_width": [_short(h, 2) for _, h in curve]}
        lines.append(json.dumps(place | numbers, separators=(",", ":")))
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{run.name}.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode(), 9, mtime=0))


def _short(value: float, digits: int) -> float | None:
    return None if math.isnan(value) else float(f"{value:.{digits}g}")


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], choices=SEEDS)
    options = parser.parse_args()
    logging.getLogger("rankwatch").setLevel(logging.ERROR)
    runs = [run for run in catalogue() if run.seed in options.seeds]
    make_missing(runs, options.data, options.out, RESULTS, read)


if __name__ == "__main__":
    main()
