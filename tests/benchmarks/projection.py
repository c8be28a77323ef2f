"""Which random projection, and when: time and accuracy of four kinds, and of the estimate with and without.

    python tests/benchmarks/projection.py [--seeds 10] [--tables kinds auto]

``kinds``: seconds to project n rows, best of five, and the estimate's error with the correction that belongs to the
kind: kappa = t / (1 - df / k) for matrices with independent entries (Gaussian, sparse sign), and for orthonormal ones
t (1 - df / D) / (1 - df / k), where D = d for a uniformly distributed frame and the next power of two for a subsampled
randomised Hadamard transform. Their matrices stand in for `projection_matrix`, so that all else is the same code.

``auto``: seconds for the sample and the estimate with its interval, error and interval's width, unprojected and with
k = d / 2 and d / 3: what `choose_projection` rests on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from unittest import mock

import numpy as np
import torch
from estimator import gaussian, spectra
from scipy.linalg import hadamard

from rankwatch.numerics import RankEstimate, Sample, effective_rank, estimate_from_sample, estimate_rank
from rankwatch.numerics.rank import spectrum_correction as correction
from rankwatch.numerics.rows import projection as package

NONZEROS = 8
"""Entries per row of a sparse sign matrix (Tropp et al. 2019 recommend 8)."""


def gaussian_matrix(d: int, k: int, seed: int = 0) -> torch.Tensor:
    """(d, k) independent normal entries of variance 1 / k."""
    return torch.randn(d, k, generator=torch.Generator().manual_seed(seed)) / k**0.5


def sparse_sign(d: int, k: int, seed: int = 0) -> torch.Tensor:
    """(d, k): in each row `NONZEROS` entries +-1 / sqrt(NONZEROS)."""
    rng = np.random.default_rng(seed)
    matrix = np.zeros((d, k), dtype=np.float32)
    for row in matrix:
        row[rng.permutation(k)[:NONZEROS]] = rng.choice([-1.0, 1.0], NONZEROS) / NONZEROS**0.5
    return torch.from_numpy(matrix)


def srht(d: int, k: int, seed: int = 0) -> torch.Tensor:
    """(d, k): random signs, a Hadamard transform of the next power of two, k of its columns."""
    rng = np.random.default_rng(seed)
    wide = 1 << (d - 1).bit_length()
    columns = hadamard(wide)[:d][:, rng.permutation(wide)[:k]]
    return torch.from_numpy((columns * rng.choice([-1.0, 1.0], (d, 1)) / k**0.5).astype(np.float32))


def transform(x: torch.Tensor, k: int) -> torch.Tensor:
    """The fast Walsh-Hadamard transform of rows, O(n d log d), and the first k columns."""
    n, d = x.shape
    wide = 1 << (d - 1).bit_length()
    y = torch.nn.functional.pad(x, (0, wide - d))
    step = 1
    while step < wide:
        y = y.view(n, wide // (2 * step), 2, step)
        y = torch.stack((y[:, :, 0] + y[:, :, 1], y[:, :, 0] - y[:, :, 1]), dim=2).view(n, wide)
        step *= 2
    return y[:, :k]


def padded(eigenvalues: np.ndarray, t: np.ndarray, inner: np.ndarray, d: int, k: int | None) -> np.ndarray:
    """The orthonormal correction for rows that were padded to a power of two."""
    return orthonormal(eigenvalues, t, inner, 1 << (d - 1).bit_length(), k)


def independent_entries(eigenvalues: np.ndarray, t: np.ndarray, inner: np.ndarray, d: int, k: int | None) -> np.ndarray:
    """The correction for matrices with independent entries, in the place of the orthonormal one."""
    del d
    if k is None:
        return inner
    return inner * k / correction.degrees_of_freedom(eigenvalues, t, k)[1]


orthonormal = correction._undo_projection

KINDS = {
    "Gaussian": (gaussian_matrix, independent_entries),
    "sparse sign": (sparse_sign, independent_entries),
    "SRHT": (srht, padded),
    "orthonormal": (package.projection_matrix, orthonormal),
}


def best(call: Callable[[], object], times: int = 5) -> float:
    """Milliseconds, best of some."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(1e3 * (time.perf_counter() - start))
    return min(found)


def table_kinds(seeds: int) -> None:
    """Time and error of the four kinds."""
    for n, d, k in ((2048, 768, 256), (4096, 2048, 512)):
        x = torch.randn(n, d)
        print(f"\nprojecting ({n}, {d}) to {k} columns, {torch.get_num_threads()} threads, milliseconds")
        dense, sparse = gaussian_matrix(d, k), sparse_sign(d, k).T.to_sparse_csr()
        print(f"  dense product, float32 {best(lambda: x @ dense):8.1f}")  # noqa: B023
        print(f"  dense product, float64 {best(lambda: x.double() @ dense.double()):8.1f}  (the package's)")  # noqa: B023
        print(f"  sparse sign            {best(lambda: (sparse @ x.T).T):8.1f}")  # noqa: B023
        print(f"  SRHT                   {best(lambda: transform(x, k)):8.1f}")  # noqa: B023
        print(f"  the frame, once        {best(lambda: package.projection_matrix.__wrapped__(d, k), 1):8.1f}")  # noqa: B023
    print(f"\nd = 768, n = 2048, k = 256: median error and root mean square in percent, {seeds} seeds")
    print(f"{'':22}" + "".join(f"{kind:>18}" for kind in KINDS))
    for name, lam in spectra(768).items():
        cells = []
        for matrix, undo in KINDS.values():
            matrices = mock.patch.object(package, "projection_matrix", matrix)
            with matrices, mock.patch.object(correction, "_undo_projection", undo):
                cells.append(errors(lam, 2048, 256, seeds))
        print(f"{name:22}" + "".join(f"{np.median(e):+10.2f} {np.sqrt(np.mean(e**2)):7.2f}" for e in cells), flush=True)


def errors(lam: np.ndarray, n: int, k: int | None, seeds: int) -> np.ndarray:
    """Errors of the estimate in percent."""
    truth = effective_rank(np.sqrt(lam))
    return np.array([100.0 * np.log(_draw(lam, n, k, seed).value / truth) for seed in range(seeds)])


def _draw(lam: np.ndarray, n: int, k: int | None, seed: int) -> RankEstimate:
    x, _ = gaussian(n)(np.random.default_rng([seed, n]), lam)
    return estimate_rank(x, projection=k, seed=seed)


def table_auto(seeds: int) -> None:
    """Cost and accuracy of no projection, d / 2 and d / 3."""
    print(
        "\nfour rows per utterance; ms: sample + estimate; then the worst over nine spectra of median error, rms, width"
    )
    for d in (256, 512, 768, 1024, 2048):
        n = 2048 if d < 2048 else 4096
        for k in (None, d // 2, -(-d // 3)):
            x, groups = torch.randn(n, d), torch.arange(n) // 4
            sample = Sample.from_rows(x, groups, k)
            cost = best(lambda: Sample.from_rows(x, groups, k), 3), best(lambda: estimate_from_sample(sample), 3)  # noqa: B023
            medians, rms, widths = [], [], []
            for lam in spectra(d).values() if d <= 1024 else ():
                truth = effective_rank(np.sqrt(lam))
                found = [_draw(lam, n, k, seed) for seed in range(seeds)]
                error = np.array([100.0 * np.log(e.value / truth) for e in found])
                medians.append(abs(np.median(error)))
                rms.append(np.sqrt(np.mean(error**2)))
                widths.append(np.median([100.0 * np.log((e.high or np.nan) / (e.low or np.nan)) for e in found]))
            accuracy = f"{max(medians):8.2f} {max(rms):8.2f} {max(widths):8.1f}" if medians else ""
            print(f"d = {d:5}, n = {n}, k = {k or '-':>5}: {cost[0]:7.0f} +{cost[1]:6.0f} ms {accuracy}", flush=True)


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tables", nargs="+", choices=("kinds", "auto"), default=["kinds", "auto"])
    arguments = parser.parse_args()
    for name in arguments.tables:
        (table_kinds if name == "kinds" else table_auto)(arguments.seeds)


if __name__ == "__main__":
    main()
