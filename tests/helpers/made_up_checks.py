"""Made-up runs with labelled checks, as records and as series."""

from __future__ import annotations

import json
import math

import numpy as np

from rankwatch.correlation.inputs.run_series import LOSS, PROBE, RunSeries, Series
from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading import ACCURACY, CHANCE, LABELLED, MAJORITY, Reading
from rankwatch.readings.report import Cost, LayerRow, Report, RunHeader
from rankwatch.reporting.jsonl_records import JsonlReporter


def autoregressive(generator, n, phi=0.0, rho=0.0, draws=1, phi_y=None):
    """Pairs of stationary AR(1) series of variance one whose innovations correlate with rho: two arrays (draws, n)."""
    decay = np.array([phi, phi if phi_y is None else phi_y])
    innovations = generator.standard_normal((draws, n, 2))
    innovations[..., 1] = rho * innovations[..., 0] + math.sqrt(1.0 - rho**2) * innovations[..., 1]
    found = np.empty_like(innovations)
    start = generator.standard_normal((draws, 2))
    together = rho * math.sqrt((1 - decay[0] ** 2) * (1 - decay[1] ** 2)) / (1 - decay[0] * decay[1])
    start[:, 1] = together * start[:, 0] + math.sqrt(1.0 - together**2) * start[:, 1]
    found[:, 0] = start
    for step in range(1, n):
        found[:, step] = decay * found[:, step - 1] + np.sqrt(1.0 - decay**2) * innovations[:, step]
    return found[..., 0], found[..., 1]


def made_up_series(name, rank, check, *, steps=None, loss=None, layers=("L01",), direction=1, errors=(), floor=np.nan):
    """One run whose layers all have the same rank and check, but for what differs in rows of two-dimensional arrays."""
    n = np.shape(rank)[-1]
    at = np.arange(1, n + 1) * 1000 if steps is None else np.asarray(steps)
    ranks, values = (np.broadcast_to(one, (len(layers), n)) for one in (rank, check))
    measures = [Series("effective_rank", "clips", "frame", layer, at, ranks[i], 1) for i, layer in enumerate(layers)]
    if loss is not None:
        measures.append(Series(LOSS, "", "", "", at, np.asarray(loss), -1))
    checks = [
        Series(PROBE, "labelled", "frame", layer, at, values[i], direction, np.asarray(errors), floor)
        for i, layer in enumerate(layers)
    ]
    return RunSeries(name, measures, checks, list(layers), "clips", {("clips", "frame", one): "a" for one in layers})


def write_run(path, ranks, accuracies, *, steps=None, labelled=400, majority=0.1, seeds=0, run="one", end=""):
    """Records of a run with an unlabelled and a labelled set: ranks and accuracies (layers, n)."""
    ranks, accuracies = np.atleast_2d(ranks), np.atleast_2d(accuracies)
    layers, n = ranks.shape
    at = np.arange(1, n + 1) * 1000 if steps is None else steps
    reporter = JsonlReporter(path)
    rows = [LayerRow(f"encoder.layers.{i}", f"L{i + 1:02}", 64, "(B, T, C)", "lengths") for i in range(layers)]
    reporter.start(RunHeader("RankWatch", "0.1.0", rows, ("frame",), ("clips", "labelled"), 1000, run=run))
    for place, step in enumerate(at):
        readings = []
        for depth in range(layers):
            layer, rank = f"encoder.layers.{depth}", float(ranks[depth, place])
            for source in ("clips", "labelled"):
                protocol = Protocol(source, "frame", 32, 8, 64, None, seed=seeds)
                metrics = {"stable_rank": rank / 3.0}
                if source == "labelled":
                    accuracy = float(accuracies[depth, place])
                    metrics |= {ACCURACY: accuracy, MAJORITY: majority, CHANCE: 0.05, LABELLED: float(labelled)}
                readings.append(
                    Reading(
                        *(int(step), source, "frame", layer, rank, rank - 1, rank + 1, rank, metrics, frozenset()),
                        *(256, 64, None, protocol),
                    )
                )
        reporter.report(Report(int(step), readings, (), (), 1.0, 0, {}, {}, "", Cost({})))
    if end:
        with path.open("a", encoding="utf-8") as file:
            file.write(end)
    return path


def write_losses(folder, steps, losses, name="train_loss"):
    """``metrics.csv`` as Lightning's CSVLogger writes it."""
    lines = [f"epoch,step,{name},note", *(f"0,{step},{loss},x" for step, loss in zip(steps, losses, strict=True))]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")


def records_of(path):
    """The JSON objects of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
