"""What choosing by rank, by the loss, by the last and by chance loses: closed forms."""

import dataclasses

import numpy as np
import pytest
from made_up_checks import made_up_series

from rankwatch.correlation.evidence.choices import choices_together, chosen_checkpoints, chosen_layers, chosen_runs

CHECK = np.array([0.1, 0.5, 0.4, 0.3])


def find(found, **fields):
    return next(one for one in found if all(getattr(one, name) == value for name, value in fields.items()))


def test_each_rule_loses_what_the_best_has_more():
    run = made_up_series("a", [1.0, 2.0, 4.0, 3.0], CHECK, loss=[4.0, 3.0, 2.0, 1.0])
    found = list(chosen_checkpoints(run))
    lost = {one.rule: one for one in found if one.against == "best"}
    expected = {"effective_rank": 0.1, "loss": 0.2, "last": 0.2, "chance": 0.175}
    assert {rule: one.lost for rule, one in lost.items()} == pytest.approx(expected)
    rank = lost["effective_rank"]
    assert (rank.chosen, rank.reached, rank.share) == ("3000", pytest.approx(0.4), pytest.approx(0.25))
    assert np.isnan([rank.low, rank.high]).all()
    against = find(found, rule="effective_rank", against="last")
    assert (against.lost, against.no_worse, against.surely) == (pytest.approx(-0.1), 1.0, 0)
    assert find(found, rule="last", against="chance").lost == pytest.approx(0.025)


def test_lower_is_better_turns_the_choice_round():
    run = made_up_series("a", [1.0, 2.0, 4.0, 3.0], 1.0 - CHECK, direction=-1)
    rank = find(chosen_checkpoints(run), rule="effective_rank", against="best")
    assert (rank.lost, rank.reached) == pytest.approx((0.1, 0.6))


def test_a_gain_within_the_checks_own_error_has_no_share():
    run = made_up_series("a", [1.0, 2.0, 4.0, 3.0], CHECK, errors=np.full(4, 0.2))
    assert np.isnan(find(chosen_checkpoints(run), rule="last", against="best").share)


def test_all_rules_choose_among_the_same_checkpoints():
    run = made_up_series("a", [1.0, 2.0, 4.0, 3.0], CHECK, loss=[4.0, 3.0, 2.0, 1.0])
    rank, loss = run.measures
    later = dataclasses.replace(loss, steps=loss.steps[:3], values=loss.values[:3])
    found = list(chosen_checkpoints(dataclasses.replace(run, measures=[rank, later])))
    assert find(found, rule="last", against="best").chosen == "3000"
    assert not list(chosen_checkpoints(run, from_step=4000))


def test_a_measure_that_does_not_vary_chooses_nothing():
    run = made_up_series("a", [2.0, 2.0, 2.0, 2.0], CHECK, loss=[4.0, 3.0, 2.0, 1.0])
    assert {one.rule for one in chosen_checkpoints(run)} == {"loss", "last", "chance"}


def test_utterances_give_one_run_an_interval():
    rows = np.clip(CHECK[:, None] + np.linspace(-0.1, 0.1, 40) * np.array([[1], [1], [-1], [1]]), 0, 1)
    run = made_up_series("a", [1.0, 2.0, 4.0, 3.0], rows.mean(axis=1))
    check = dataclasses.replace(run.checks[0], rows=rows)
    found = list(chosen_checkpoints(dataclasses.replace(run, checks=[check])))
    rank = find(found, rule="effective_rank", against="best")
    assert rank.lost == pytest.approx(0.1)
    assert rank.low < 0.1 < rank.high
    (alone,) = choices_together([rank], {"a": "a"})
    assert (alone.low, alone.high, alone.beyond_these_runs) == (rank.low, rank.high, False)
    # The last checkpoint's utterances move with the best one's, so nothing of this difference is uncertain.
    assert find(found, rule="last", against="best").high == pytest.approx(0.2)


def test_runs_together_have_students_interval_and_a_share_of_runs():
    runs = [made_up_series(f"r{i}", [1.0, 2.0, 4.0, 3.0], CHECK - np.eye(4)[2] * 0.02 * i) for i in range(4)]
    found = [one for run in runs for one in chosen_checkpoints(run)]
    groups = {run.name: run.name for run in runs}
    mean = find(choices_together(found, groups), rule="effective_rank", against="best")
    assert mean.lost == pytest.approx(0.13)
    assert (mean.units, mean.runs, mean.no_worse, mean.run) == (4, 4, 0.0, "")
    assert 0.0 < mean.low < 0.13 < mean.high
    against = find(choices_together(found, groups), rule="effective_rank", against="last")
    assert against.surely == -1
    two = find(choices_together(found, {f"r{i}": str(i % 2) for i in range(4)}), rule="effective_rank", against="best")
    assert np.isnan(two.low)


def test_layers_are_chosen_at_the_end():
    ranks, checks = np.zeros((3, 2)), np.zeros((3, 2))
    ranks[:, 1], checks[:, 1] = [1.0, 3.0, 2.0], [0.5, 0.2, 0.4]
    found = list(chosen_layers(made_up_series("a", ranks, checks, layers=("L01", "L02", "L03"))))
    lost = {one.rule: (one.chosen, one.lost) for one in found if one.against == "best"}
    assert lost["effective_rank"] == ("L02", pytest.approx(0.3))
    assert lost["last"] == ("L03", pytest.approx(0.1))
    assert lost["chance"] == ("", pytest.approx(0.4 / 3))
    assert not list(chosen_layers(made_up_series("a", ranks[0], checks[0])))


def test_a_run_is_chosen_among_those_that_were_measured_alike():
    runs = [made_up_series(f"r{i}", CHECK + i, CHECK - 0.1 * i) for i in range(3)]
    (best,) = [one for one in chosen_runs(runs) if one.against == "best"]
    assert (best.chosen, best.lost, best.run) == ("r2", pytest.approx(0.2), "")
    (chance,) = [one for one in chosen_runs(runs) if one.against == "chance"]
    assert chance.lost == pytest.approx(0.1)
    other = dataclasses.replace(runs[2], protocols=dict.fromkeys(runs[2].protocols, "other"))
    assert not list(chosen_runs([*runs[:2], other]))
    assert not list(chosen_runs(runs[:1]))
