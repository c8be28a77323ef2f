"""How fast layers move in one run and in another: the same pairs of readings, after the warm-up, to be trusted."""

import dataclasses
import json
import math

import pytest
from readings import reading

from rankwatch.comparison.compare_runs import compare_runs
from rankwatch.comparison.differences.difference import ALL_LAYERS
from rankwatch.comparison.records.turnovers import SEEDS
from rankwatch.readings.drift.layer_drift import LayerDrift
from rankwatch.reporting.recorded.from_readings import run_from_readings

STEPS = tuple(range(0, 220, 20))
WARM = 60


def drifted(since, step, turnover, *, width=0.1, status=()):
    value, low, high = (-math.expm1(-turnover * (1.0 + k * width)) for k in (0.0, -1.0, 1.0))
    return LayerDrift(since, step, value, low, high, frozenset(status))


def moving(name, turnovers, *, steps=STEPS, status=lambda step: (), width=0.1):
    """A run whose layers turn over by so much between two readings, each a number or a function of the later step."""
    made = []
    for k, turnover in enumerate(turnovers):
        for before, step in zip((None, *steps), steps, strict=False):
            drift = []
            if before is not None:
                size = turnover(step) if callable(turnover) else turnover
                drift.append(drifted("previous", before, size, width=width, status=status(step)))
            if step > WARM:
                drift.append(drifted("first", WARM, 0.5))
            one = reading(step, 60.0, layer=f"layers.{k}", source="audio", half_width=1.0, seed=0)
            made.append(dataclasses.replace(one, drift=tuple(drift)))
    return run_from_readings(made, name=name)


def of(found, layer):
    return next(t for t in found.turnovers if t.place.layer == layer)


def later(steps=STEPS):
    return [step for step in steps if step > WARM]


def test_the_ratio_is_that_of_the_mean_turnovers_after_the_warm_up():
    def uneven(step):
        return 9.0 if step <= WARM else 0.02 * (1 + step % 40 / 20)

    found = compare_runs([moving("fast", [uneven, 0.02]), moving("slow", [0.005, 0.019])])
    first, second = of(found, "L00"), of(found, "L01")
    mean = sum(map(uneven, later())) / len(later())
    assert first.turnovers == pytest.approx((mean, 0.005), rel=1e-4)
    assert first.ratio == pytest.approx(mean / 0.005, rel=1e-4)
    assert (first.pairs, first.steps) == (len(later()), (WARM, STEPS[-1]))
    assert (first.verdict, second.verdict) == ("faster", "within seeds")
    assert of(found, ALL_LAYERS).ratio == pytest.approx(math.sqrt(first.ratio * second.ratio), rel=1e-4)
    other_way = compare_runs([moving("slow", [0.005, 0.019]), moving("fast", [uneven, 0.02])])
    assert of(other_way, "L00").verdict == "slower"


def test_the_interval_is_that_of_readings_whose_errors_go_together():
    found = of(compare_runs([moving("a", [0.02], width=0.1), moving("b", [0.02], width=0.2)]), "L00")
    assert math.log(found.high_90 / found.low_90) / 2.0 == pytest.approx(math.hypot(0.1, 0.2), rel=0.01)
    assert math.log(found.high / found.low) > math.log(found.high_90 / found.low_90)


def test_only_pairs_of_readings_that_both_have_and_that_are_to_be_trusted_count():
    sparse = moving("sparse", [0.04], steps=STEPS[::2])
    assert not compare_runs([moving("dense", [0.01]), sparse]).turnovers  # never the same two readings
    half = moving("half", [0.04], steps=(*STEPS[:7], *STEPS[8::2]))
    found = of(compare_runs([moving("dense", [0.01]), half]), "L00")
    assert (found.pairs, found.steps) == (3, (60, 120))
    assert found.ratio == pytest.approx(0.25, rel=1e-4)

    def doubtful(step):
        return ("dependent_rows",) if step == 100 else ("imprecise",)

    found = of(compare_runs([moving("a", [0.01], status=doubtful), moving("b", [0.01])]), "L00")
    assert found.pairs == len(later()) - 1


def test_a_step_ends_what_counts_and_two_pairs_are_too_few():
    runs = [moving("a", [0.02]), moving("b", [0.02])]
    assert of(compare_runs(runs, step=140), "L00").steps == (60, 140)
    assert not compare_runs(runs, step=100).turnovers


def test_a_layer_that_does_not_move_has_no_ratio():
    found = of(compare_runs([moving("frozen", [0.0]), moving("b", [0.02])]), "L00")
    assert (found.verdict, found.low) == ("not known", None)
    assert found.to_plain()["ratio"] is None
    json.dumps(found.to_plain(), allow_nan=False)


def test_groups_of_seeds_hold_for_other_seeds():
    speeds = {"new": (0.05, 0.055, 0.046), "old": (0.02, 0.023, 0.019)}
    runs = [moving(f"{name}{k}", [speed]) for name, of_seeds in speeds.items() for k, speed in enumerate(of_seeds)]
    found = of(compare_runs(runs, {name: [f"{name}{k}" for k in range(3)] for name in speeds}), "L00")
    assert (found.one, found.seeds, found.verdict) == ("new", True, "faster")
    close = [moving(name, [speed]) for name, speed in (("a", 0.02), ("b", 0.02 * (1.0 + 0.9 * SEEDS)))]
    assert of(compare_runs(close), "L00").verdict != "slower"


def test_it_is_said_and_written_and_shown(tmp_path):
    found = compare_runs([moving("fast", [0.08, 0.02]), moving("slow", [0.01, 0.02])])
    said = next(line for line in found.conclusions if "move" in line)
    assert said.startswith("audio, frame level: fast's layers move faster than slow's by more than seeds alone give")
    assert "in 1 of 2 layers (L00 8.00 times" in said
    assert "learning rate" in said
    table = found.table()
    assert "how fast layers move: mean turnover between readings, steps 60 to 200" in table
    assert any(line.split()[1:4] == ["L00", "0.0800", "0.0100"] for line in table.splitlines())
    found.save(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "comparison.jsonl").read_text().splitlines()]
    written = [line for line in lines if line["kind"] == "turnover"]
    assert [line["layer"] for line in written] == ["L00", "L01", ALL_LAYERS]
    assert written[0]["turnover_one"] == pytest.approx(0.08, rel=1e-4)
    page = tmp_path / "index.html"
    assert not page.exists() or "How fast layers move" in page.read_text()
    same = compare_runs([moving("a", [0.02]), moving("b", [0.02])])
    assert any("different speeds isn't shown" in line for line in same.conclusions)
    three = compare_runs([moving(name, [speed]) for name, speed in (("a", 0.08), ("b", 0.02), ("c", 0.01))])
    assert "a / b" in three.table()
