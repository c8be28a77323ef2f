"""Draw loss and rank for some runs of the example, as in the README.

python examples/plot_curves.py runs/data2vec/version_0 runs/data2vec_broken/version_0 --out curves.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rankwatch.readings.reading import Reading
from rankwatch.reporting import read_jsonl

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe & Ito: that colour-blind readers can tell apart


def losses(run: Path) -> tuple[list[int], list[float]]:
    """Steps and training losses, smoothed over nine points."""
    events = EventAccumulator(str(next(run.rglob("events.out*")).parent), size_guidance={"scalars": 0})
    events.Reload()
    curve = [(event.step, event.value) for event in events.Scalars("train/loss")]
    windows = [curve[max(0, i - 4) : i + 5] for i in range(len(curve))]
    return [step for step, _ in curve], [sum(v for _, v in window) / len(window) for window in windows]


def last_layer(run: Path) -> list[Reading]:
    """Frame-level readings of the last block on the primary evaluation set."""
    readings = read_jsonl(next(run.rglob("RankWatch.jsonl")))
    primary = readings[0].source
    last = next(r.layer for r in reversed(readings) if r.source == primary)  # a codebook may come after it
    return [r for r in readings if (r.source, r.level, r.layer) == (primary, "frame", last)]


def draw(run: Path, name: str, colour: str, above: Axes, below: Axes) -> None:
    """One run: its loss above, its rank with the interval below, a line where it was stopped."""
    above.plot(*losses(run), color=colour, label=name)
    readings = last_layer(run)
    steps = [r.step for r in readings]
    below.plot(steps, [r.effective_rank for r in readings], color=colour, marker=".", label=name)
    sure = [r for r in readings if r.effective_rank_low is not None and r.effective_rank_high is not None]
    low, high = [r.effective_rank_low or 0.0 for r in sure], [r.effective_rank_high or 0.0 for r in sure]
    below.fill_between([r.step for r in sure], low, high, color=colour, alpha=0.2, linewidth=0)
    for stop in run.rglob("*-collapse-step=*.ckpt"):
        for axes in (above, below):
            axes.axvline(int(stop.stem.rpartition("=")[2]), color=colour, linestyle="--", linewidth=1)


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--names", nargs="*", default=[], help="in the order of the runs")
    parser.add_argument("--out", type=Path, default=Path("curves.png"))
    arguments = parser.parse_args()
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    names = [*arguments.names, *(run.parent.name for run in arguments.runs[len(arguments.names) :])]
    for run, name, colour in zip(arguments.runs, names, COLOURS, strict=False):
        draw(run, name, colour, above, below)
    above.set(yscale="log", ylabel="training loss")
    below.set(ylabel="effective rank, last layer", xlabel="optimiser step", ylim=(0, None))
    below.legend(frameon=False)
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(arguments.out, dpi=130)


if __name__ == "__main__":
    main()
