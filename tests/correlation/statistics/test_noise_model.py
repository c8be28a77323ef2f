"""Independent pairs that autocorrelated series are worth, and what a trend takes away."""

import numpy as np
import pytest
from made_up_checks import autoregressive

from rankwatch.correlation.statistics.noise_model import FEWEST_CHANGES, change_model, level_model
from rankwatch.correlation.statistics.trend_basis import natural_spline, step_coordinate, trend_columns

STEPS = np.arange(1, 21) * 1000


def certain(model, place):
    weights = np.zeros((1, len(model.log_determinants)))
    weights[0, place] = 1.0
    return weights


def candidate(phi):
    phis = (*np.linspace(-0.5, 0.9, 15), 0.94, 0.97, 0.99, 0.999)
    return int(np.argmin(np.abs(np.array(phis) - phi)))


def test_white_noise_is_worth_as_many_pairs_as_there_are_values():
    model = level_model(20)
    white = certain(model, candidate(0.0))
    assert model.effective_pairs(white, white)[0, 0] == pytest.approx(20.0)


@pytest.mark.parametrize("phi", [0.3, 0.6, 0.8])
def test_autocorrelated_series_are_worth_what_bartlett_says(phi):
    """Bartlett 1935: n (1 - phi²) / (1 + phi²) of long series, both with phi."""
    n = 120
    model = level_model(n)
    weights = certain(model, candidate(phi))
    expected = n * (1 - phi**2) / (1 + phi**2)
    assert model.effective_pairs(weights, weights)[0, 0] == pytest.approx(expected, rel=0.07)


def test_the_autocorrelation_of_long_series_is_found():
    generator = np.random.default_rng(0)
    model = level_model(120)
    for phi in (0.0, 0.5, 0.9):
        x, _ = autoregressive(generator, 120, phi)
        found = model.weights(model.compared(x))[0].argmax()
        assert abs(found - candidate(phi)) <= 2


def test_the_spline_is_a_basis_of_curves_that_are_straight_outside():
    positions = np.linspace(0, 5, 30)
    basis = natural_spline(positions, 5)
    np.testing.assert_allclose(basis.T @ basis, np.eye(5), atol=1e-12)
    for line in (np.ones(30), positions):
        np.testing.assert_allclose(basis @ (basis.T @ line), line, atol=1e-10)


def test_step_zero_has_a_logarithm_and_steps_alone_count():
    assert np.isfinite(step_coordinate([0, 10, 20])).all()
    np.testing.assert_allclose(np.diff(step_coordinate([10, 20, 40])), np.diff(step_coordinate([100, 200, 400])))


def test_a_trend_in_the_splines_span_leaves_nothing_and_adding_it_changes_nothing():
    model = change_model(STEPS)
    later = STEPS[model.first :]
    trend = natural_spline(step_coordinate(later), trend_columns(len(later))) @ np.arange(1.0, 7.0)
    whole = np.concatenate([np.zeros(model.first), 1e3 * trend])
    assert not model.compared(whole[None]).any()
    x = np.random.default_rng(0).standard_normal((1, 20))
    np.testing.assert_allclose(model.compared(x + whole), model.compared(x), atol=1e-8)


def test_scale_does_not_matter_to_what_a_series_is_worth():
    model = change_model(STEPS)
    x = np.random.default_rng(0).standard_normal((3, 20))
    np.testing.assert_allclose(
        model.weights(model.compared(1e-6 * x + 5.0)), model.weights(model.compared(x)), atol=1e-5
    )


def test_checkpoints_that_are_too_few_have_no_model():
    assert change_model(np.arange(10)) is None
    assert change_model(np.arange(11)).contrasts.shape[0] == FEWEST_CHANGES
    assert change_model(STEPS).first == 5


def test_smooth_curves_are_worth_little():
    model = level_model(20)
    rising = 1 - np.exp(-np.arange(20.0) / 5)
    weights = model.weights(model.compared(rising[None]))
    assert model.effective_pairs(weights, weights)[0, 0] < 6.5
