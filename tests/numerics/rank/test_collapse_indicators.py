"""The share of variance within utterances: an analysis of variance in which a single utterance can't decide."""

import math

import numpy as np
import pytest
import torch

from rankwatch.numerics import Sample, collapse_indicators, estimate_from_sample

FRAMES = 4


def share(rows, groups):
    sample = Sample.from_rows(torch.as_tensor(rows, dtype=torch.float32), torch.as_tensor(groups))
    return collapse_indicators(sample, estimate_from_sample(sample))["within_utterance_variance_fraction"]


def utterances(count, within=1.0, between=1.0, d=24, seed=0, heavy=False):
    """(count * 4, d) rows and their groups."""
    random = np.random.default_rng(seed)
    middles = random.standard_t(2.5, (count, 1)) * random.standard_normal((count, d)) if heavy else None
    middles = between * (random.standard_normal((count, d)) if middles is None else middles)
    rows = middles[:, None] + within * random.standard_normal((count, FRAMES, d))
    return rows.reshape(-1, d), np.repeat(np.arange(count), FRAMES)


def anova(rows, groups):
    """The same of all utterances, from the textbook."""
    rows = rows.astype(np.float32).astype(np.float64)
    means = np.stack([rows[groups == g].mean(0) for g in np.unique(groups)])
    within = sum(((rows[groups == g] - m) ** 2).sum() for g, m in zip(np.unique(groups), means, strict=True))
    within /= len(rows) - len(means)
    between = FRAMES * ((means - rows.mean(0)) ** 2).sum() / (len(means) - 1)
    spread = max(between - within, 0.0) / FRAMES
    return within / (within + spread)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("within", "between", "heavy"), [(1, 1, False), (0.1, 1, False), (1, 0.1, False), (1, 1, True)]
)
def test_without_a_far_utterance_it_is_the_analysis_of_variance_of_all(within, between, heavy, seed):
    rows, groups = utterances(48, within, between, seed=seed, heavy=heavy)
    assert share(rows, groups) == pytest.approx(anova(rows, groups), rel=1e-9)


@pytest.mark.parametrize("distance", [30.0, 1e3, 1e6])
@pytest.mark.parametrize("count", [16, 64])
def test_one_far_utterance_changes_nothing(count, distance):
    rows, groups = utterances(count)
    far = rows.copy()
    far[:FRAMES] = distance * np.sqrt(24)  # one vector, as of a dead microphone
    assert share(far, groups) == share(rows[FRAMES:], groups[FRAMES:])
    assert anova(far, groups) < 0.1  # what it would be else


def test_many_far_utterances_are_what_the_layer_is_like():
    rows, groups = utterances(64)
    rows[: 8 * FRAMES] += 100.0
    assert share(rows, groups) == pytest.approx(anova(rows, groups), rel=1e-9)


def test_a_collapse_of_all_but_one_is_seen():
    """Next to utterances that are all one vector the last one is far away, and all that there is."""
    rows, groups = utterances(64, within=0.0, between=0.0)
    rows[:FRAMES] = 1.0
    assert share(rows, groups) == 0.0
    frames_alike, _ = utterances(64, within=1e-3, between=1.0)
    frames_alike[:FRAMES] = 1e3
    assert share(frames_alike, groups) < 1e-5
    assert math.isnan(share(rows[::FRAMES], groups[::FRAMES]))
