"""Which measure is correlated with which check, over what, and what is refused."""

import dataclasses

import numpy as np
import pytest
from made_up_checks import autoregressive, made_up_series

from rankwatch.correlation.evidence.across import across_layers, across_runs
from rankwatch.correlation.evidence.association import (
    ACROSS_RUNS,
    BEYOND_STEP,
    CONSTANT,
    OVER_TIME,
    TOO_FEW_CHECKPOINTS,
    TOO_FEW_LAYERS,
    TOO_FEW_RUNS,
    WITHIN_GROUPS,
)
from rankwatch.correlation.evidence.within_runs import together, within_run
from rankwatch.correlation.inputs.run_series import Series
from rankwatch.correlation.statistics.coefficients import COEFFICIENTS

GENERATOR = np.random.default_rng(0)
X, Y = (one[0] for one in autoregressive(GENERATOR, 20, 0.3, 0.7))


def find(found, **fields):
    return next(one for one in found if all(getattr(one, name) == value for name, value in fields.items()))


def test_each_layer_is_compared_with_itself_and_the_loss_with_all():
    run = made_up_series("a", [X, Y], [Y, X], loss=-Y, layers=("L01", "L02"))
    found = list(within_run(run))
    assert len(found) == 2 * 2 * 2 * len(COEFFICIENTS)  # layers, measures of each, scopes
    assert {one.layer for one in found} == {"L01", "L02"}
    loss = find(found, measure="loss", layer="L01", scope=OVER_TIME, coefficient="pearson")
    assert loss.value == pytest.approx(-1.0)
    assert loss.direction == -1
    assert {one.status for one in found} == {frozenset()}
    assert all(one.low <= one.value <= one.high for one in found)


def test_a_check_of_which_less_is_better_has_its_sign_turned_round():
    better = find(within_run(made_up_series("a", X, Y)), scope=BEYOND_STEP, coefficient="spearman")
    worse = find(within_run(made_up_series("a", X, -Y, direction=-1)), scope=BEYOND_STEP, coefficient="spearman")
    assert worse == better


def test_steps_that_one_of_both_lacks_are_left_out():
    run = made_up_series("a", X, Y)
    (rank,) = run.measures
    fewer = dataclasses.replace(rank, steps=rank.steps[3:] + 100, values=rank.values[3:])
    found = list(within_run(dataclasses.replace(run, measures=[fewer])))
    expected = list(within_run(made_up_series("a", X[3:], Y[3:], steps=rank.steps[3:])))
    for one, other in zip(found, expected, strict=True):
        assert (one.n, one.value, one.low) == pytest.approx((17, other.value, other.low))
    far = dataclasses.replace(rank, steps=rank.steps + 400)
    assert {one.n for one in within_run(dataclasses.replace(run, measures=[far]))} == {0}


def test_few_checkpoints_and_constant_series_say_why_there_is_nothing():
    few = list(within_run(made_up_series("a", X[:3], Y[:3])))
    assert {one.status for one in few} == {frozenset({TOO_FEW_CHECKPOINTS})}
    assert np.isnan([one.value for one in few]).all()
    one = list(within_run(made_up_series("a", X[:1], Y[:1])))
    assert {each.n for each in one} == {1}
    constant = list(within_run(made_up_series("a", np.full(20, 3.0), Y)))
    assert {each.status for each in constant} == {frozenset({CONSTANT})}


def test_many_checkpoints_are_thinned_and_early_ones_left_out_on_request():
    x, y = (one[0] for one in autoregressive(GENERATOR, 150, 0.3, 0.7))
    assert {one.n for one in within_run(made_up_series("a", x, y))} == {64}
    assert {one.n for one in within_run(made_up_series("a", X, Y), from_step=5000)} == {16}


def test_drawing_other_utterances_widens_the_interval():
    run = made_up_series("a", X, Y)
    (check,) = run.checks
    rows = check.values[:, None] + np.random.default_rng(1).standard_normal((20, 30)) * 2.0
    rows += check.values[:, None] - rows.mean(axis=1, keepdims=True)
    plain = find(within_run(run), scope=OVER_TIME, coefficient="pearson")
    wider = find(
        within_run(dataclasses.replace(run, checks=[dataclasses.replace(check, rows=rows)])),
        scope=OVER_TIME,
        coefficient="pearson",
    )
    assert wider.value == pytest.approx(plain.value)
    assert wider.high - wider.low > 1.05 * (plain.high - plain.low)


def test_runs_together_are_the_mean_of_their_z():
    pairs = [autoregressive(GENERATOR, 20, 0.3, 0.7) for _ in range(4)]
    runs = [made_up_series(f"r{i}", x[0], y[0]) for i, (x, y) in enumerate(pairs)]
    each = [one for run in runs for one in within_run(run)]
    found = find(together(each, {run.name: run.name for run in runs}), scope=BEYOND_STEP, coefficient="pearson")
    values = [one.value for one in each if (one.scope, one.coefficient) == (BEYOND_STEP, "pearson")]
    assert found.value == pytest.approx(np.tanh(np.arctanh(values).mean()))
    assert (found.units, found.run, found.beyond_these_runs) == (4, "", True)
    two = find(together(each, {run.name: str(i // 2) for i, run in enumerate(runs)}), scope=BEYOND_STEP)
    assert (two.units, two.beyond_these_runs) == (2, False)
    # A run that has nothing to say doesn't silence the others.
    silent = [*each, *within_run(made_up_series("few", X[:3], Y[:3]))]
    of = {one.run: one.run for one in silent}
    assert find(together(silent, of), scope=BEYOND_STEP, coefficient="pearson").value == pytest.approx(found.value)


def test_layers_are_compared_at_the_last_checkpoint():
    layers = tuple(f"L{i:02}" for i in range(1, 9))
    ranks, accuracies = np.zeros((8, 6)), np.zeros((8, 6))
    ranks[:, -1], accuracies[:, -1] = np.arange(8), [0, 2, 1, 3, 4, 6, 5, 7]
    found = list(across_layers(made_up_series("a", ranks, accuracies, layers=layers)))
    assert find(found, coefficient="kendall").value == pytest.approx(1 - 2 * 2 / 28)
    assert {(one.n, one.layer) for one in found} == {(8, "")}
    few = list(across_layers(made_up_series("a", ranks[:4], accuracies[:4], layers=layers[:4])))
    assert {one.status for one in few} == {frozenset({TOO_FEW_LAYERS})}


def test_runs_are_compared_at_their_end_and_at_equal_steps():
    runs = [made_up_series(f"r{i}", X + i, Y + (i if i < 5 else 4)) for i in range(6)]
    found = list(across_runs(runs, {run.name: run.name for run in runs}))
    assert {one.step for one in found} == {-1, 6000, 11000, 15000, 20000}
    end = find(found, step=-1, coefficient="pearson")
    assert (end.scope, end.n, end.units, end.beyond_these_runs) == (ACROSS_RUNS, 6, 6, True)
    assert end.value == pytest.approx(np.corrcoef(np.arange(6), [0, 1, 2, 3, 4, 4])[0, 1])
    few = list(across_runs(runs[:3], {run.name: run.name for run in runs}))
    assert {one.status for one in few} == {frozenset({TOO_FEW_RUNS})}
    assert not list(across_runs(runs[:1], {"r0": "r0"}))


def test_groups_of_runs_are_compared_by_their_means_and_within():
    shifts = [0.0, 0.1, 0.2, 5.0, 5.2, 5.1]
    runs = [made_up_series(f"r{i}", X + shift, Y - shift) for i, shift in enumerate(shifts)]
    found = list(across_runs(runs, {f"r{i}": "ab"[i // 3] for i in range(6)}))
    within = find(found, scope=WITHIN_GROUPS, step=-1, coefficient="pearson")
    assert within.value == pytest.approx(-1.0)
    assert within.pairs == 5.0
    between = find(found, scope=ACROSS_RUNS, step=-1, coefficient="pearson")
    assert (between.n, between.status) == (2, frozenset({TOO_FEW_RUNS}))


def test_runs_that_were_measured_otherwise_are_not_compared():
    runs = [made_up_series(f"r{i}", X + i, Y + i) for i in range(6)]
    other = dataclasses.replace(runs[5], protocols=dict.fromkeys(runs[5].protocols, "other"))
    found = list(across_runs([*runs[:5], other], {run.name: run.name for run in runs}))
    assert {one.n for one in found} == {5}


def test_a_check_of_the_whole_model_is_compared_with_every_layer():
    run = made_up_series("a", [X, Y], [Y, X], layers=("L01", "L02"))
    check = Series("wer", "", "", "", run.checks[0].steps, -Y, -1)
    found = list(within_run(dataclasses.replace(run, checks=[check])))
    assert {one.layer for one in found} == {"L01", "L02"}
    assert find(found, layer="L02", scope=OVER_TIME).value == pytest.approx(1.0)
