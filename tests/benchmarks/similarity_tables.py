"""Error, coverage and status of similarities on rows of known populations.

    python tests/benchmarks/similarity_tables.py --seeds 50            # all cases, markdown rows
    python tests/benchmarks/similarity_tables.py --only labels --seeds 10
    python tests/benchmarks/similarity_tables.py --first-seed 1000 --seeds 200   # draws that no table has seen

Each line is one case and one measure: the population's value, the mean of the plain values, the mean error, the median
and the largest absolute error of values whose status is empty (with how many of the seeds that were), the largest of
those whose status isn't, how many of the 90 % intervals hold the population's value, and their width in units of the
spread that was found; of Procrustes the bounds stand in their place. Nothing in the estimator was chosen on the cases
whose name begins with "held out".
"""

import argparse
import time
import zlib
from dataclasses import dataclass, field

import numpy as np
import torch

from rankwatch.metrics import cca_squared, cka, explained, procrustes, similarity


@dataclass(frozen=True)
class Case:
    """A population and how it is sampled."""

    name: str
    utterances: int = 128
    m: int = 4
    p: int = 96
    q: int = 96
    correlation: str = "falling"
    spectrum: str = "1/i"
    share: object = 0.5
    share_common: object = None
    tails: str = ""
    unequal: bool = False
    ar: float = 0.0
    labels: int = 0
    kappa: float = 0.1
    measures: tuple = field(default=("similarity", "cca_squared", "cka"))


def spectrum(kind, d):
    i = np.arange(1, d + 1)
    kinds = {"1/i": i**-1.0, "i^-0.5": i**-0.5, "i^-2": i**-2.0, "flat": i**0.0, "exp": np.exp(-i / (d / 8)) + 1e-4}
    # Which direction has which variance has nothing to do with which ones are shared.
    return np.random.default_rng(d).permutation(kinds[kind])


def correlations(kind, k):
    kinds = {"none": np.zeros(k), "falling": np.linspace(1, 0, k), "half": np.full(k, 0.5), "high": np.full(k, 0.95)}
    return np.eye(k)[0] if kind == "one direction" else kinds[kind]


def latent(rng, case, d, share):
    """(n, d) rows of variance one, dependent within utterances."""
    g, m = case.utterances, case.m
    own = rng.standard_normal((g, m, d))
    for t in range(1, m if case.ar else 1):
        own[:, t] = case.ar * own[:, t - 1] + np.sqrt(1.0 - case.ar**2) * own[:, t]
    tail = np.where(np.arange(d) < d // 5, 0.3, 0.95) if share == "tail" else np.full(d, share)
    return (np.sqrt(tail) * rng.standard_normal((g, 1, d)) + np.sqrt(1.0 - tail) * own).reshape(g * m, d)


def draw(case, seed):
    rng = np.random.default_rng([seed, zlib.crc32(case.name.encode())])
    groups = np.repeat(np.arange(case.utterances), case.m)
    k = min(case.p, case.q)
    rho = correlations(case.correlation, k)
    if case.labels:
        labels = rng.integers(0, case.labels, len(groups))
        means = np.random.default_rng(7).standard_normal((case.labels, case.p)) * label_size(case)
        return (means - means.mean(0))[labels] + latent(rng, case, case.p, case.share), labels, groups
    shared = latent(rng, case, k, case.share if case.share_common is None else case.share_common)
    x, y = latent(rng, case, case.p, case.share), latent(rng, case, case.q, case.share)
    for rows in (x, y):
        rows[:, :k] = np.sqrt(rho) * shared + np.sqrt(1.0 - rho) * rows[:, :k]
    if case.tails:
        unit = case.utterances if case.tails == "utterance" else len(groups)
        scale = np.sqrt(3.0 / rng.chisquare(5, unit))
        scale = np.repeat(scale, case.m) if case.tails == "utterance" else scale
        x, y = x * scale[:, None], y * scale[:, None]
    x, y = x * np.sqrt(spectrum(case.spectrum, case.p)), y * np.sqrt(spectrum(case.spectrum, case.q))
    keep = np.ones(len(groups), dtype=bool)
    if case.unequal:
        keep = rng.random(len(groups)) < np.repeat(rng.uniform(0.1, 1.0, case.utterances), case.m)
    return x[keep], y[keep], groups[keep]


def label_size(case):
    return {"none": 0.0, "half": 0.3, "high": 1.0}[case.correlation]


def truth(case, measure):
    if case.labels:
        means = np.random.default_rng(7).standard_normal((case.labels, case.p)) * label_size(case)
        between = (means - means.mean(0)).T @ (means - means.mean(0)) / case.labels
        return np.trace(np.linalg.solve(between + np.eye(case.p), between)) / (case.labels - 1)
    k = min(case.p, case.q)
    rho = correlations(case.correlation, k)
    a, b = spectrum(case.spectrum, case.p), spectrum(case.spectrum, case.q)
    if measure == "cka":
        return float((rho**2 * a[:k] * b[:k]).sum() / np.sqrt((a**2).sum() * (b**2).sum()))
    if measure == "procrustes":
        return float((rho * np.sqrt(a[:k] * b[:k])).sum() / np.sqrt(a.sum() * b.sum()))
    if measure == "cca_squared":
        return float((rho**2).sum() / k)
    if measure == "explained":
        return float((rho**2 * b[:k]).sum() / b.sum())
    a, b = a / (a + case.kappa * a.mean()), b / (b + case.kappa * b.mean())
    return float((rho**2 * a[:k] * b[:k]).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


def measured(case, measure, x, y, groups):
    if measure == "cka":
        return cka(x, y, groups=groups)
    if measure == "procrustes":
        return procrustes(x, y, groups=groups)
    if measure == "similarity":
        return similarity(x, y, groups=groups, kappa=case.kappa)
    return {"cca_squared": cca_squared, "explained": explained}[measure](x, y, groups=groups, kappa=0.0)


def line(case, measure, found, exact, seconds):
    values = np.array([f.value for f in found])
    error = np.abs(values - exact)
    clean = np.array([not f.status for f in found])
    flagged = ", ".join(sorted({flag for f in found for flag in f.status})) or "-"
    known = [f for f in found if f.low is not None]
    held = np.mean([f.low <= exact <= f.high for f in known]) if known else np.nan
    width = np.mean([(f.high - f.low) / 3.29 for f in known]) / values.std() if known else np.nan
    of_clean = f"{np.median(error[clean]):.4f} / {error[clean].max():.4f} ({clean.sum()})" if clean.any() else "- (0)"
    of_others = f"{error[~clean].max():.3f}" if (~clean).any() else "-"
    plain = np.mean([f.plain for f in found])
    print(
        f"| {case.name} | {measure} | {exact:.3f} | {plain:.3f} | {np.nanmean(values) - exact:+.4f} | {of_clean} | "
        f"{of_others}: {flagged} | {held:.0%} | {width:.2f} | {seconds:.2f} |",
        flush=True,
    )


ALL = ("similarity", "cca_squared", "cka")
SMALL = ("similarity", "cca_squared")
CASES = [
    *(Case(f"n = {4 * g}, {c}", g, correlation=c) for g in (128, 512) for c in ("none", "falling", "half", "high")),
    Case("n = 512, independent rows", 512, 1),
    Case("n = 512, 90 % shared within utterances", 128, 4, share=0.9),
    Case("n = 2048, 90 % shared within utterances", 512, 4, share=0.9),
    Case("n = 2048, tail belongs to utterances", 512, 4, share="tail"),
    Case("n = 2048, only what is common varies within", 512, 4, share_common=0.0, share=0.9),
    Case("n = 2048, t with 5 degrees, by row", 512, 4, tails="row"),
    Case("n = 2048, t with 5 degrees, by utterance", 512, 4, tails="utterance"),
    Case("20 labels, n = 512", 128, 4, labels=20, correlation="half", measures=("cca_squared",)),
    Case("20 labels, none, n = 2048", 512, 4, labels=20, correlation="none", measures=("cca_squared",)),
    Case("20 labels, n = 2048", 512, 4, labels=20, correlation="half", measures=("cca_squared",)),
    Case("20 labels, high, n = 2048", 512, 4, labels=20, correlation="high", measures=("cca_squared",)),
    Case("to 40 columns, n = 1024", 256, 4, q=40, measures=("cca_squared", "explained")),
    Case("held out: i^-0.5", 512, 4, spectrum="i^-0.5", measures=ALL),
    Case("held out: i^-2", 512, 4, spectrum="i^-2", measures=ALL),
    Case("held out: flat", 512, 4, spectrum="flat", measures=ALL),
    Case("held out: exponential", 512, 4, spectrum="exp", measures=ALL),
    Case("held out: unequal utterances, up to 12 rows", 256, 12, unequal=True),
    Case("held out: unequal, tail belongs to utterances", 512, 12, unequal=True, share="tail"),
    Case("held out: consecutive frames (0.8), 256 x 8", 256, 8, share=0.2, ar=0.8),
    Case("held out: consecutive frames (0.95), 64 x 32", 64, 32, share=0.2, ar=0.95),
    *(Case(f"held out: q = {q}", 512, 4, q=q, measures=SMALL) for q in (2, 5, 20, 48)),
    *(Case(f"held out: n = {n} d", int(24 * n), 4, measures=ALL) for n in (0.5, 1, 1.5, 2, 3, 8)),
    *(Case(f"held out: n = {n} d, kappa 1", int(24 * n), 4, kappa=1.0, measures=ALL[:1]) for n in (0.5, 1, 2)),
    Case("held out: one direction shared", 512, 4, correlation="one direction"),
    Case("held out: p = 192, n = 2048", 512, 4, 192, 192),
    *(
        Case(f"bounds: n = {4 * g}, {c}", g, correlation=c, measures=("procrustes",))
        for g in (128, 512)
        for c in ("none", "falling", "half", "high")
    ),
    Case("bounds: n = 2048, flat", 512, 4, spectrum="flat", measures=("procrustes",)),
    Case("bounds: n = 2048, 90 % shared within utterances", 512, 4, share=0.9, measures=("procrustes",)),
    Case("p = 768, n = 2048, none", 512, 4, 768, 768, correlation="none"),
    Case("p = 768, n = 2048", 512, 4, 768, 768),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--measure", default="", help="this measure alone")
    parser.add_argument("--most-columns", type=int, default=1024, help="leave wider cases out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for case in CASES:
        if arguments.only not in case.name or case.p > arguments.most_columns:
            continue
        measures = [m for m in case.measures if arguments.measure in (m, "")]
        found = {measure: [] for measure in measures}
        seconds = dict.fromkeys(measures, 0.0)
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            x, y, groups = draw(case, seed)
            for measure in measures:
                start = time.process_time()
                found[measure].append(measured(case, measure, x, y, groups))
                seconds[measure] += (time.process_time() - start) / arguments.seeds
        for measure in measures:
            line(case, measure, found[measure], truth(case, measure), seconds[measure])


if __name__ == "__main__":
    main()
