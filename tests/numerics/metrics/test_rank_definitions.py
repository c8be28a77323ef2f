"""Each definition against what its paper or tool is known to read."""

import math

import numpy as np
import pytest
import torch

from rankwatch.numerics import effective_rank, rankme
from rankwatch.numerics.metrics.rank_definitions import (
    DEFINITIONS,
    centred_rank,
    epsilon_rank,
    pool_frames,
    variance_rank,
)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Sigma^2 ~ 1/k with a mean: the case where the definitions part."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((900, 96)) / np.sqrt(np.arange(1.0, 97.0)) + 0.3 * rng.standard_normal(96)


def test_definitions_are_what_numpy_says(rows: np.ndarray) -> None:
    sigma = np.linalg.svd(rows, compute_uv=False)
    centred = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    p = sigma / sigma.sum() + 1e-5
    assert DEFINITIONS["rankme"](rows) == pytest.approx(effective_rank(sigma), rel=1e-9)
    assert DEFINITIONS["centred"](rows) == pytest.approx(effective_rank(centred), rel=1e-9)
    assert DEFINITIONS["variance"](rows) == pytest.approx(effective_rank(centred**2), rel=1e-9)
    assert DEFINITIONS["epsilon"](rows) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-9)


def test_four_definitions_give_four_answers(rows: np.ndarray) -> None:
    assert variance_rank(rows) < rankme(rows) < epsilon_rank(rows) < centred_rank(rows)


@pytest.mark.parametrize(
    ("name", "reads"),
    [
        ("rankme", 130.7),  # the paper's equations (1) and (2) without its epsilon
        ("centred", 593.7),
        ("variance", 145.2),
        ("epsilon", 137.0971),  # what the RankMe callback of stable-pretraining 0.1.8 logged for these very rows
    ],
)
def test_the_matrix_on_which_public_tools_disagree(name: str, reads: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5000, 768)) / np.sqrt(np.arange(1.0, 769.0)) + rng.standard_normal(768)
    assert DEFINITIONS[name](x) == pytest.approx(reads, abs=0.06 if name != "epsilon" else 3e-4)


def test_an_epsilon_reads_more_than_there_are_dimensions() -> None:
    assert epsilon_rank(torch.eye(768)) == pytest.approx(802.0, abs=1.0)
    single = torch.zeros(768, 768)
    single[0, 0] = 1.0
    assert epsilon_rank(single) == pytest.approx(1.09, abs=0.005)
    assert rankme(torch.eye(768)) == pytest.approx(768.0)


def test_summing_over_frames_measures_length_and_the_mean_does_not() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(10, 80, (200,), generator=generator)
    content = torch.randn(200, 1, 24, generator=generator)
    frames = 3.0 + content + 0.1 * torch.randn(200, 80, 24, generator=generator)
    frames[torch.arange(80) >= lengths[:, None]] = math.nan
    mean, total = pool_frames(frames, lengths), pool_frames(frames, lengths, how="sum")
    expected = torch.stack([f[:n].double().sum(0) for f, n in zip(frames, lengths, strict=True)])
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(mean, expected / lengths[:, None])
    assert centred_rank(total) < 0.85 * centred_rank(mean)
    equal = torch.full((200,), 10)
    assert rankme(pool_frames(frames, equal)) == pytest.approx(rankme(pool_frames(frames, equal, "sum")))


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="lengths"):
        pool_frames(torch.zeros(2, 3, 4), [0, 3])
    with pytest.raises(ValueError, match="how"):
        pool_frames(torch.zeros(2, 3, 4), [1, 3], how="max")
    with pytest.raises(ValueError, match="shape"):
        centred_rank(torch.zeros(3))
    assert math.isnan(variance_rank(torch.full((3, 2), math.nan)))
