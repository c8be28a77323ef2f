"""Runs are compared only where that is allowed, and told apart only where intervals say so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from recorded_runs import recorded

pytest.importorskip("plotly", reason="figures are drawn by plotly, which isn't installed")

from rankwatch.reporting.figures.comparison import (
    differing_hyperparameters,
    differing_protocols,
    last_common_step,
    rank_runs,
    require_comparable,
)
from rankwatch.reporting.recorded.recorded_run import RecordedRun

PLACE = ("first_batches", "frame")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    return recorded(tmp_path_factory.mktemp("run"), layers=2, readings=10, collapse=False)


def at(run: RecordedRun, name: str, value: float, low: float, high: float) -> RecordedRun:
    curves = {}
    for key, curve in run.curves.items():
        values, lows, highs = (np.full(len(run.steps), one, np.float32) for one in (value, low, high))
        curves[key] = dataclasses.replace(curve, values=values, low=lows, high=highs)
    return dataclasses.replace(run, name=name, curves=curves)


def test_runs_under_one_protocol_may_be_compared(run: RecordedRun) -> None:
    assert differing_protocols([run, dataclasses.replace(run, name="other")]) == ""


def test_the_refusal_says_in_what_protocols_differ(run: RecordedRun) -> None:
    changed = {
        id_: dataclasses.replace(protocol, precision="bf16-mixed", utterances=64)
        for id_, protocol in run.protocols.items()
    }
    other = dataclasses.replace(run, name="other", protocols=changed)
    words = r"run and other can't be compared.*utterances 512 against 64.*precision"
    with pytest.raises(ValueError, match=words) as said:
        require_comparable([run, other])
    assert "eval_set" not in str(said.value)


def test_runs_without_a_set_in_common_are_refused(run: RecordedRun) -> None:
    curves = {("elsewhere", level, layer): curve for (_, level, layer), curve in run.curves.items()}
    with pytest.raises(ValueError, match=r"no evaluation set, level and layer in common.*elsewhere"):
        require_comparable([run, dataclasses.replace(run, curves=curves)])


def test_no_run_is_refused() -> None:
    with pytest.raises(ValueError, match="no run"):
        require_comparable([])


def test_order_by_rank_and_what_cannot_be_told_apart(run: RecordedRun) -> None:
    runs = [at(run, "low", 50, 48, 52), at(run, "high", 90, 88, 92), at(run, "close", 53, 51, 55)]
    ranked = rank_runs(runs, "L01", "frame", PLACE[0])
    assert [(one.name, one.tied) for one in ranked] == [("high", False), ("close", False), ("low", True)]
    assert [one.run for one in ranked] == [1, 2, 0]


def test_without_an_interval_nothing_can_be_told_apart(run: RecordedRun) -> None:
    ranked = rank_runs([at(run, "a", 90, np.nan, np.nan), at(run, "b", 10, 9, 11)], "L00", "frame", PLACE[0])
    assert [one.tied for one in ranked] == [False, True]


def test_runs_are_compared_at_the_last_step_that_all_have(run: RecordedRun) -> None:
    short = dataclasses.replace(
        run,
        steps=run.steps[:4],
        curves={
            key: dataclasses.replace(curve, values=curve.values[:4], low=curve.low[:4], high=curve.high[:4])
            for key, curve in run.curves.items()
        },
    )
    assert last_common_step([run, short]) == run.steps[3]
    ranked = rank_runs([run, short], "L00", "frame", PLACE[0])
    assert ranked[0].value == ranked[1].value


def test_hyperparameters_that_differ_are_listed_once(run: RecordedRun) -> None:
    one = dataclasses.replace(run, hyperparameters={"model.init.width": "64", "width": "64", "seed": "1", "same": "x"})
    other = dataclasses.replace(run, hyperparameters={"model.init.width": "96", "width": "96", "same": "x"})
    assert differing_hyperparameters([one, other]) == [("model.init.width", "64", "96"), ("seed", "1", "")]
