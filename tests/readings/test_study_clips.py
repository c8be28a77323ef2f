"""How many clips a rank needs (`tests/benchmarks/study/clips.py`): what is drawn, and what the tables say of curves."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import study  # noqa: F401
from study import clip_tables
from study.clip_tables import Curve, Layer
from study.clips import LAYERS, SIZES, STEPS_READ, draws, estimates

from rankwatch import estimate_rank
from rankwatch.numerics import Sample

KEYS = frozenset(range(100, 280))
NO_INTERVAL = np.full(4, np.nan)


def test_draws_of_one_size_have_no_clip_in_common_and_are_the_same_again():
    found = list(draws(KEYS, (1, 0), with_rest=True))
    assert found == list(draws(frozenset(sorted(KEYS, reverse=True)), (1, 0), with_rest=True))
    assert [one.keys for one in draws(KEYS, (2, 0), with_rest=True)][:-1] != [one.keys for one in found][:-1]
    assert found[-1].keys == KEYS
    assert {one.clips for one in found} == {*SIZES, len(KEYS)}
    for size, most in SIZES.items():
        drawn = [one.keys for one in found if one.clips == size and not one.rest]
        assert len(drawn) == min(most, len(KEYS) // size)
        assert all(len(keys) == size for keys in drawn)
        assert len(frozenset().union(*drawn)) == size * len(drawn)
        (rest,) = (one.keys for one in found if one.clips == size and one.rest)
        assert rest == KEYS - drawn[0]


def test_an_estimate_is_that_of_the_drawn_clips_alone():
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(40).repeat_interleave(3)
    rows = torch.randn(120, 6, generator=generator) * torch.arange(1, 7)
    found = list(estimates(Sample.from_rows(rows, groups), (0, 0), with_rest=False))
    assert [draw.clips for draw, _, _ in found] == [8] * 4 + [16] * 2 + [32, 40]
    for draw, value, half in found:
        chosen = torch.tensor([int(key) in draw.keys for key in groups])
        expected = estimate_rank(rows[chosen], groups=groups[chosen])
        assert value == expected.value
        assert np.isnan(half) == (expected.low is None) == (draw.clips == 8)
    with pytest.raises(ValueError, match="projected"):
        next(estimates(Sample.from_rows(rows, groups, projection=2), (0, 0), with_rest=False))


def layer(source, drawn, everything, speech, half=NO_INTERVAL):
    """One layer with draws of eight clips, and the curve from all ten."""
    curves = {8: [Curve(i, False, np.array(rank), np.array(half)) for i, rank in enumerate(drawn)]}
    curves[10] = [Curve(0, False, np.array(everything), NO_INTERVAL)]
    return Layer("made-up", source, "frame", curves, Curve(0, False, np.array(speech), NO_INTERVAL))


def test_deviations_and_correlations():
    one = layer("music", [[11.0, 22, 33, 44], [9.0, 6, 3, 1]], [10.0, 20, 30, 40], [1.0, 2, 3, 4])
    assert clip_tables.deviations(one, 8)[:4] == pytest.approx([10.0] * 4)
    assert clip_tables.with_speech(one, 8) == pytest.approx([1.0, -1.0])
    assert clip_tables.with_each_other(one, 8) == pytest.approx([-1.0])
    assert clip_tables.with_speech(one, 10) == pytest.approx([1.0])
    assert clip_tables.holds_everything(one, 8) == clip_tables.draws_agree(one, 8) == []


def test_intervals_of_independent_draws_are_joined_in_quadrature():
    """Two that are 13 % apart agree with half widths of 10 % each, and neither interval holds 13 % more."""
    one = layer("music", [[100.0] * 4, [113.0] * 4], [113.0] * 4, [1.0, 2, 3, 4], half=[0.1] * 4)
    assert clip_tables.draws_agree(one, 8) == [1.0] * 4
    assert clip_tables.holds_everything(one, 8) == [0.0] * 4 + [1.0] * 4
    narrow = layer("music", [[100.0] * 4, [113.0] * 4], [113.0] * 4, [1.0, 2, 3, 4], half=[0.08] * 4)
    assert clip_tables.draws_agree(narrow, 8) == [0.0] * 4


def test_the_fewest_clips_are_those_from_which_on_draws_follow_each_other():
    up, down = Curve(0, False, np.arange(4.0), NO_INTERVAL), Curve(1, False, -np.arange(4.0), NO_INTERVAL)
    same, other = [up, up], [up, down]
    for drawn, expected in (
        ([same, same, same, same, same], 8),
        ([same, other, same, same, same], 32),
        ([same, same, same, same, []], 8),
        ([other, other, other, other, same], 96),
        ([same, same, same, same, other], None),
    ):
        one = Layer("made-up", "music", "frame", dict(zip(SIZES, drawn, strict=True)), up)
        assert clip_tables.fewest([one], 0.5, 0.9) == expected


def test_speech_is_compared_with_the_clips_that_a_draw_has_left():
    one = layer("unseen", [[1.0, 2, 3, 4], [4.0, 3, 2, 1]], [1.0, 2, 3, 4], [1.0, 2, 3, 4])
    one.curves[8].append(Curve(1, True, np.array([4.0, 3, 2, 2]), NO_INTERVAL))
    assert clip_tables.with_speech(one, 8) == pytest.approx([0.9486833], abs=1e-6)
    assert clip_tables.with_speech(one, 10) == []
    assert clip_tables.with_each_other(one, 8) == pytest.approx([-1.0])


def test_what_is_stored_is_whole():
    layers = clip_tables.load()
    assert layers
    for run in {one.run for one in layers}:
        assert len([one for one in layers if one.run == run]) == 8 * 2 * len(LAYERS)
    for one in layers:
        assert set(one.curves) == {*SIZES, max(one.curves)}
        assert all(len(curve.rank) == len(STEPS_READ) for curves in one.curves.values() for curve in curves)
