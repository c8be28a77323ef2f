"""How often the 90 % intervals of `rankwatch correlate` hold the truth on made-up runs whose correlation is known.

    python tests/benchmarks/correlation_coverage.py          # all tables of docs/pages/correlate.md, 500 draws a row
    python tests/benchmarks/correlation_coverage.py --draws 2000 --tables trends

Series are AR(1) with correlated innovations, alone or around trends that rise each in its own way (saturating, power,
logistic, logarithmic). ``noise`` is the standard deviation around the trend in units of the trend's own.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

from made_up_checks import autoregressive, made_up_series

from rankwatch.correlation.correlate_series import correlate_series
from rankwatch.correlation.evidence.findings import AGAINST, YES
from rankwatch.correlation.statistics.block_bootstrap import block_length, circular_blocks, stationary_blocks
from rankwatch.correlation.statistics.coefficients import COEFFICIENTS, fisher_interval, pearson, standard_error
from rankwatch.correlation.statistics.noise_model import change_model
from rankwatch.correlation.statistics.over_runs import mean_loss, mean_over_runs, pooled_correlation
from rankwatch.correlation.statistics.pair_statistics import beyond_the_step, over_time
from rankwatch.correlation.statistics.regret import chosen_place

POPULATION = {
    "pearson": lambda rho: rho,
    "spearman": lambda rho: 6.0 / math.pi * math.asin(rho / 2.0),
    "kendall": lambda rho: 2.0 / math.pi * math.asin(rho),
}
RESAMPLES = 400


def trends(generator, draws, steps):
    """(draws, n) curves that rise, each of one of four kinds and of its own speed, of mean 0 and variance 1."""
    at = np.asarray(steps, float) / steps[-1]
    kind = generator.integers(0, 4, (draws, 1))
    speed = np.exp(generator.uniform(math.log(0.05), math.log(1.5), (draws, 1)))
    power, middle, width = (generator.uniform(a, b, (draws, 1)) for a, b in ((0.2, 1.0), (0.1, 0.6), (0.05, 0.25)))
    curves = np.choose(
        kind,
        [
            1.0 - np.exp(-at / speed),
            at**power,
            1.0 / (1.0 + np.exp(-(at - middle) / width)),
            np.log(at + 0.02) * np.ones((draws, 1)),
        ],
    )
    return (curves - curves.mean(axis=1, keepdims=True)) / curves.std(axis=1, keepdims=True)


def bootstrap(x, y, blocks):
    """The percentile interval of Pearson's correlation over resampled checkpoints."""
    drawn_x, drawn_y = x[blocks], y[blocks]
    drawn_x, drawn_y = (one - one.mean(axis=1, keepdims=True) for one in (drawn_x, drawn_y))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (drawn_x * drawn_y).sum(1) / np.sqrt((drawn_x**2).sum(1) * (drawn_y**2).sum(1))
    return np.nanquantile(found, [0.05, 0.95])


def held(interval, truth):
    return bool(interval[0] <= truth <= interval[1])


def stationary_row(generator, draws, n, phi, rho):
    """Coverage over time as it is: ours, and resampled checkpoints."""
    blocks = {
        "circular": circular_blocks(n, block_length(n), RESAMPLES),
        "stationary": stationary_blocks(n, block_length(n), RESAMPLES),
        "single": circular_blocks(n, 1, RESAMPLES),
    }
    names = [*COEFFICIENTS, "plain Fisher", *blocks]
    found, pairs = dict.fromkeys(names, 0), []
    for x, y in zip(*autoregressive(generator, n, phi, rho, draws), strict=True):
        one = over_time(x, y)
        pairs.append(one.pairs[0, 0])
        for kind in COEFFICIENTS:
            ends = fisher_interval(one.values[kind], one.errors[kind])
            found[kind] += held((ends[0][0, 0], ends[1][0, 0]), POPULATION[kind](rho))
        plain = pearson(x[None], y[None])[0, 0]
        found["plain Fisher"] += held(fisher_interval(plain, standard_error(plain, n, "pearson")), rho)
        for name, drawn in blocks.items():
            found[name] += held(bootstrap(x, y, drawn), rho)
    return {name: count / draws for name, count in found.items()} | {"pairs": float(np.median(pairs))}


def trend_row(generator, draws, n, phi, rho, noise, fading=1.0):
    """Coverage beyond the step; the noise of the last checkpoint is `fading` of that of the first."""
    steps = np.arange(1, n + 1) * 1000
    spread = noise * np.geomspace(1.0, fading, n)
    x, y = autoregressive(generator, n, phi, rho, draws)
    x, y = spread * x + trends(generator, draws, steps), spread * y + trends(generator, draws, steps)
    model = change_model(steps)
    m = model.back.shape[1]
    blocks = circular_blocks(m, block_length(m), RESAMPLES)
    found = dict.fromkeys([*COEFFICIENTS, "circular", "yes", "raw plain Fisher says yes"], 0)
    pairs = []
    for one_x, one_y in zip(x, y, strict=True):
        one = beyond_the_step(one_x, one_y, steps)
        pairs.append(one.pairs[0, 0])
        lows = []
        for kind in COEFFICIENTS:
            low, high = (float(end[0, 0]) for end in fisher_interval(one.values[kind], one.errors[kind]))
            found[kind] += held((low, high), POPULATION[kind](rho))
            lows.append(low)
        found["yes"] += lows[0] > 0.0 and lows[1] > 0.0
        left, right = (model.residuals(model.compared(each[None]))[0] for each in (one_x, one_y))
        found["circular"] += held(bootstrap(left, right, blocks), rho)
        raw = pearson(one_x[None], one_y[None])[0, 0]
        found["raw plain Fisher says yes"] += bool(fisher_interval(raw, standard_error(raw, n, "pearson"))[0] > 0.0)
    return {name: count / draws for name, count in found.items()} | {"pairs": float(np.median(pairs))}


def pure_trend_row(generator, draws, n, noise, runs, phi=0.5):
    """How often `correlate` calls independent noise around rising curves evidence: runs of one recipe share curves."""
    steps = np.arange(1, n + 1) * 1000
    found = dict.fromkeys([YES, AGAINST, "over time"], 0)
    for _ in range(draws):
        rank, check = trends(generator, 2, steps)
        x, y = autoregressive(generator, n, phi, 0.0, runs)
        series = [
            made_up_series(f"run{i}", 50 + 10 * (rank + noise * x[i]), 0.3 + 0.1 * (check + noise * y[i]))
            for i in range(runs)
        ]
        finding = correlate_series(series).findings[0]
        found["over time"] += finding.over_time.value
        if finding.follows in found:
            found[finding.follows] += 1
    return {name: count / draws for name, count in found.items()}


def pooled_row(generator, draws, n, runs, spread, phi=0.5, rho=0.5):
    """Coverage of the mean correlation of several runs, whose own correlations (of z) are spread."""
    steps = np.arange(1, n + 1) * 1000
    hits, width = 0, []
    for _ in range(draws):
        values, errors = [], []
        for own in np.tanh(math.atanh(rho) + spread * generator.standard_normal(runs)):
            x, y = autoregressive(generator, n, phi, float(own))
            one = beyond_the_step(
                0.1 * x[0] + trends(generator, 1, steps), 0.1 * y[0] + trends(generator, 1, steps), steps
            )
            values.append(one.values["pearson"][0, 0])
            errors.append(one.errors["pearson"][0, 0])
        mean = pooled_correlation(values, errors, range(runs))
        hits += held((mean.low, mean.high), rho)
        width.append(mean.high - mean.low)
    return {"covers": hits / draws, "width": float(np.mean(width))}


def regrets(generator, draws, n, rho, phi, noise, kind):
    """(draws,) what choosing by rank, and taking the last, loses in runs around saturating or all kinds of trends."""
    at = np.arange(1, n + 1) / n
    x, y = autoregressive(generator, n, phi, rho, draws)
    if kind == "saturating":
        rank, check = 1 - np.exp(-at / 0.3) + noise * x, 1 - np.exp(-at / 0.2) + noise * y
    else:
        rank, check = (trends(generator, draws, at) + noise * one for one in (x, y))
    best = check.max(axis=1)
    by_rank = np.array([best[i] - check[i, chosen_place(rank[i], 1)] for i in range(draws)])
    return by_rank, best - check[:, -1]


def regret_row(generator, draws, runs, *about):
    """Coverage of the mean loss by rank, of its difference from the last one's, and of other ways for the former."""
    far, far_last = regrets(generator, 50_000, *about)
    by_rank, last = regrets(generator, draws * runs, *about)
    found = dict.fromkeys(
        ["lost by rank", "against the last", "Student", "percentile over runs", "runs lose nothing"], 0
    )
    resampled = generator.integers(0, runs, (RESAMPLES, runs))
    known = 0
    for i in range(draws):
        ours = slice(i * runs, (i + 1) * runs)
        one, student = mean_loss(by_rank[ours], range(runs)), mean_over_runs(by_rank[ours], range(runs))
        two = mean_over_runs(by_rank[ours] - last[ours], range(runs))
        found["against the last"] += held((two.low, two.high), (far - far_last).mean()) / draws
        if math.isfinite(one.low):
            known += 1
            found["lost by rank"] += held((one.low, one.high), far.mean())
            found["Student"] += held((student.low, student.high), far.mean())
            percentile = np.quantile(by_rank[ours][resampled].mean(1), [0.05, 0.95])
            found["percentile over runs"] += held(percentile, far.mean())
    for name in ("lost by rank", "Student", "percentile over runs"):
        found[name] /= max(known, 1)
    return {**found, "runs lose nothing": 1.0 - known / draws}


def table(title, head, rows):
    print(f"\n**{title}**\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print("| " + " | ".join(f"{one:.2f}" if isinstance(one, float) else str(one) for one in row) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=500, help="a row (default: %(default)s)")
    names = ["stationary", "trends", "pure", "pooled", "regret"]
    parser.add_argument("--tables", nargs="+", choices=names, default=names)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)
    generator = np.random.default_rng(options.seed)
    if "stationary" in options.tables:
        kinds = [*COEFFICIENTS, "plain Fisher", "circular", "stationary", "single", "pairs"]
        rows = [
            (n, phi, rho, *(row[kind] for kind in kinds))
            for n in (10, 20, 40)
            for phi in (0.0, 0.5, 0.9)
            for rho in (0.0, 0.6, 0.9)
            for row in [stationary_row(generator, options.draws, n, phi, rho)]
        ]
        table("Over time as it is: AR(1) without a trend", ["n", "phi", "rho", *kinds], rows)
    if "trends" in options.tables:
        kinds = [*COEFFICIENTS, "circular", "yes", "raw plain Fisher says yes", "pairs"]
        cases = [
            (n, phi, rho, noise, 1.0)
            for n in (11, 20, 40)
            for noise in (0.3, 0.05)
            for phi in (0.0, 0.5, 0.9)
            for rho in (0.0, 0.6, 0.9)
        ]
        cases += [(20, 0.5, rho, 0.3, 0.2) for rho in (0.0, 0.6, 0.9)]
        rows = [
            (*case, *(row[k] for k in kinds)) for case in cases for row in [trend_row(generator, options.draws, *case)]
        ]
        table(
            "Beyond the step: AR(1) around two independent trends", ["n", "phi", "rho", "noise", "fading", *kinds], rows
        )
    if "pure" in options.tables:
        rows = [
            (20, noise, runs, *pure_trend_row(generator, options.draws, 20, noise, runs).values())
            for noise in (0.3, 0.05, 0.01)
            for runs in (1, 3)
        ]
        head = ["n", "noise", "runs", "says yes", "says against", "mean correlation over time"]
        table("Pure trend: independent noise around curves that rise", head, rows)
    if "pooled" in options.tables:
        rows = [
            (20, runs, spread, *pooled_row(generator, options.draws, 20, runs, spread).values())
            for runs in (1, 2, 3, 5)
            for spread in (0.0, 0.3)
        ]
        table("Several runs: their mean correlation", ["n", "runs", "spread of z", "covers", "width"], rows)
    if "regret" in options.tables:
        cases = [
            (20, 0.0, 0.7, 0.3, "saturating"),
            (20, 0.8, 0.7, 0.3, "saturating"),
            (20, 0.6, 0.5, 0.3, "all kinds"),
            (11, 0.9, 0.9, 1.0, "all kinds"),
            (40, 0.9, 0.0, 0.1, "all kinds"),
        ]
        rows = [
            (runs, *case, *regret_row(generator, options.draws, runs, *case).values())
            for runs in (3, 5, 10)
            for case in cases
        ]
        ways = ["lost by rank", "against the last", "Student", "percentile over runs", "no run loses anything"]
        table("What choosing loses, over runs", ["runs", "n", "rho", "phi", "noise", "trends", *ways], rows)


if __name__ == "__main__":
    main()
