"""Tables of the estimator's accuracy, coverage and cost on rows whose truth is known.

    python tests/benchmarks/estimator.py [--seeds 50] [--tables spectra rows coverage cost]

Every row of a table: relative error in percent of the plain value (median) and of the estimate (median, root mean
square), that error over the Cramer-Rao bound for Gaussian rows without projection, the share of 90 % intervals
that hold the truth, and their median width over that of an ideal one (3.29 times the bound).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from rankwatch.numerics import Sample, effective_rank, estimate_from_sample, estimate_rank

Draw = Callable[[np.random.Generator, np.ndarray], tuple[np.ndarray, np.ndarray | None]]


def spectra(d: int) -> dict[str, np.ndarray]:
    """The nine shapes of the accuracy table; the scale of the exponentials follows d."""
    i = np.arange(1.0, d + 1.0)
    unit = d / 768
    return {
        "i^-0.5": i**-0.5,
        "i^-1": i**-1.0,
        "i^-1.5": i**-1.5,
        "i^-2": i**-2.0,
        "exp(-i/50)+1e-4": np.exp(-i / (50 * unit)) + 1e-4,
        "exp(-i/10)+1e-6": np.exp(-i / (10 * unit)) + 1e-6,
        "flat": np.ones(d),
        "30 + i^-0.8": np.r_[30.0, i[:-1] ** -0.8],
        "three 1e4 + i^-1": np.r_[[1e4] * 3, i[:-3] ** -1.0],
    }


def cramer_rao(eigenvalues: np.ndarray, n: int) -> float:
    """Least standard deviation of an unbiased estimate of ln R from n Gaussian rows."""
    sigma = np.sqrt(eigenvalues)
    p = sigma / sigma.sum()
    slope = -0.5 * p * (np.log(p) - (p * np.log(p)).sum())
    return float(np.sqrt(2.0 / n * (slope**2).sum()))


def gaussian(n: int) -> Draw:
    """Independent Gaussian rows."""
    return lambda rng, lam: (rng.standard_normal((n, lam.size)) * np.sqrt(lam), None)


def row_kinds(n: int) -> dict[str, Draw]:
    """Rows that are not Gaussian, not of equal size, or not independent."""

    def student_entries(rng: np.random.Generator, lam: np.ndarray) -> tuple[np.ndarray, None]:
        return rng.standard_t(5, (n, lam.size)) * np.sqrt(lam), None

    def sparse_entries(rng: np.random.Generator, lam: np.ndarray) -> tuple[np.ndarray, None]:
        entries = np.maximum(rng.standard_normal((n, lam.size)) - 1.0, 0.0)
        return entries * np.sqrt(lam), None

    def multivariate_t(rng: np.random.Generator, lam: np.ndarray) -> tuple[np.ndarray, None]:
        x = rng.standard_normal((n, lam.size)) * np.sqrt(lam)
        return x / np.sqrt(rng.chisquare(5, (n, 1)) / 5.0), None

    def two_norms(rng: np.random.Generator, lam: np.ndarray) -> tuple[np.ndarray, None]:
        return gaussian(n)(rng, lam)[0] * np.where(rng.random((n, 1)) < 0.5, 1.0, 3.0), None

    def utterances(size: int, memory: float, shared: float) -> Draw:
        def draw(rng: np.random.Generator, lam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            z = rng.standard_normal((n // size, size, lam.size))
            for i in range(1, size):
                z[:, i] = memory * z[:, i - 1] + np.sqrt(1.0 - memory**2) * z[:, i]
            offset = rng.standard_normal((n // size, 1, lam.size))
            z = np.sqrt(shared) * offset + np.sqrt(1.0 - shared) * z
            return z.reshape(-1, lam.size) * np.sqrt(lam), np.repeat(np.arange(n // size), size)

        return draw

    return {
        "t entries, 5 degrees": student_entries,
        "sparse ReLU entries": sparse_entries,
        "multivariate t, 5 degrees": multivariate_t,
        "norms 1 and 3": two_norms,
        "4 rows per utterance, half shared": utterances(4, 0.0, 0.5),
        "8 rows per utterance, AR(1) 0.8": utterances(8, 0.8, 0.0),
    }


def measure(draw: Draw, eigenvalues: np.ndarray, seeds: int, k: int | None, n: int) -> str:
    """One row of a table."""
    truth, bound = effective_rank(np.sqrt(eigenvalues)), cramer_rao(eigenvalues, n)
    plain, error, width, held = [], [], [], []
    for seed in range(seeds):
        x, groups = draw(np.random.default_rng([seed, n]), eigenvalues)
        estimate = estimate_rank(x, groups=groups, projection=k, seed=seed)
        plain.append(100.0 * (estimate.plain / truth - 1.0))
        error.append(100.0 * np.log(estimate.value / truth))
        if estimate.low is not None and estimate.high is not None:
            held.append(estimate.low <= truth * (1 + 1e-9) and truth <= estimate.high * (1 + 1e-9))
            width.append(np.log(estimate.high / estimate.low))
    rmse = float(np.sqrt(np.mean(np.square(error))))
    ideal = f"{np.median(width) / (3.29 * bound):8.1f}" if bound > 1e-6 else "       -"
    ratio = f"{rmse / (100 * bound):6.1f}" if bound > 1e-6 else "     -"
    return f"{np.median(plain):8.1f} {np.median(error):+8.2f} {rmse:8.2f} {ratio} {100 * np.mean(held):7.0f} {ideal}"


HEAD = f"{'':34}{'plain':>8} {'median':>8} {'rmse':>8} {'/bound':>6} {'cover':>7} {'width':>8}"


def table_spectra(seeds: int) -> None:
    """Nine spectra at d = 768."""
    for n, k in ((2048, None), (1024, None), (512, None), (2048, 256), (2048, 384)):
        print(f"\nd = 768, n = {n}, k = {k}, {seeds} seeds\n{HEAD}")
        for name, lam in spectra(768).items():
            print(f"{name:34}{measure(gaussian(n), lam, seeds, k, n)}", flush=True)


def table_wide(seeds: int) -> None:
    """The same shapes at d = 2048."""
    print(f"\nd = 2048, n = 4096, k = 512, {seeds} seeds\n{HEAD}")
    for name, lam in spectra(2048).items():
        print(f"{name:34}{measure(gaussian(4096), lam, seeds, 512, 4096)}", flush=True)


def table_rows(seeds: int) -> None:
    """Other kinds of rows at d = 768."""
    for kind, draw in row_kinds(2048).items():
        print(f"\n{kind}; d = 768, n = 2048, {seeds} seeds\n{HEAD}")
        for name, lam in spectra(768).items():
            print(f"{name:34}{measure(draw, lam, seeds, None, 2048)}", flush=True)


def table_coverage(seeds: int) -> None:
    """Coverage at d = 192, where 200 trials are cheap."""
    for n, k in ((512, None), (256, None), (128, None), (512, 96), (512, 64)):
        print(f"\nd = 192, n = {n}, k = {k}, {4 * seeds} seeds\n{HEAD}")
        for name, lam in spectra(192).items():
            print(f"{name:34}{measure(gaussian(n), lam, 4 * seeds, k, n)}", flush=True)
    for kind, draw in row_kinds(512).items():
        print(f"\n{kind}; d = 192, n = 512, {4 * seeds} seeds\n{HEAD}")
        for name, lam in spectra(192).items():
            print(f"{name:34}{measure(draw, lam, 4 * seeds, None, 512)}", flush=True)


def table_cost(seeds: int) -> None:
    """Seconds (best of three) against a float32 SVD of 25,600 rows."""
    del seeds
    generator = torch.Generator().manual_seed(0)

    def best(call: Callable[[], object]) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return min(times)

    many = torch.randn(25_600, 768, generator=generator)
    svd = best(lambda: torch.linalg.svdvals(many))
    print(f"\nfloat32 svdvals of (25600, 768): {1e3 * svd:.0f} ms, {torch.get_num_threads()} threads")
    for d, k, size in ((768, None, 4), (768, None, 1), (768, 256, 4), (256, None, 4), (128, None, 4)):
        x, groups = torch.randn(2048, d, generator=generator), torch.arange(2048) // size
        sample = Sample.from_rows(x, groups, k)
        taking, reading = best(lambda: Sample.from_rows(x, groups, k)), best(lambda: estimate_from_sample(sample))  # noqa: B023
        print(
            f"d = {d}, k = {k}, {size} rows per utterance: sample {1e3 * taking:.0f} ms, "
            f"estimate with interval {1e3 * reading:.0f} ms, together 1/{svd / (taking + reading):.0f}"
        )


TABLES = {
    "spectra": table_spectra,
    "wide": table_wide,
    "rows": table_rows,
    "coverage": table_coverage,
    "cost": table_cost,
}


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=["spectra", "rows", "coverage", "cost"])
    arguments = parser.parse_args()
    for name in arguments.tables:
        TABLES[name](arguments.seeds)


if __name__ == "__main__":
    main()
