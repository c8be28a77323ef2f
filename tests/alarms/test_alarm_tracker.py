"""Judgement: what becomes an alarm, when, how grave, and how often it is told."""

import math
from dataclasses import replace

import pytest
from readings import reading

from rankwatch.alarms.alarm_state import AlarmState
from rankwatch.alarms.detectors import RankDecline, default_detectors


def run(curves, rates=None, **made):
    """Judge columns of {layer: value or reading}, at these learning rates; returns the verdicts."""
    state = AlarmState("first_batches")
    verdicts = []
    for i, column in enumerate(curves):
        readings = [
            value if not isinstance(value, (int, float)) else reading(10 * i, value, layer=layer, **made)
            for layer, value in column.items()
        ]
        verdicts.append(state.assess(10 * i, readings, None if rates is None else rates[i]))
    return verdicts


def raised(verdicts):
    return [(i, alarm.kind, alarm.severity, alarm.layer) for i, v in enumerate(verdicts) for alarm in v.raised]


def test_a_lasting_fall_is_critical_after_the_patience():
    verdicts = run([{"a": 60.0}] * 10 + [{"a": 30.0}] * 6)
    assert raised(verdicts) == [(12, "dimensional_collapse", "critical", "a")]
    assert verdicts[12].raised[0].since == 100
    assert "50% of its usual 60.0" in verdicts[12].message
    assert [v.level for v in verdicts] == [0] * 12 + [2] * 4


def falling_to(level, by, n):
    """From 60 down to a level, by a factor a reading."""
    return [max(60.0 * by**i, level) for i in range(n)]


@pytest.mark.parametrize("warm", [20, 64])
def test_a_collapse_of_the_warm_up_holds_as_long_as_it_lasts(warm):
    """It is no reference when the warm-up is over, nor when the start has ceased to count."""
    curve = [dict.fromkeys("abc", value) for value in [60.0] * 4 + falling_to(12.0, 0.85, 120)]
    rates = [min(i / warm, 1.0) for i in range(len(curve))]
    verdicts = run(curve, rates)
    told = next(i for i, verdict in enumerate(verdicts) if verdict.level == 2)
    assert told < warm
    assert all(verdict.level == 2 and not verdict.healthy for verdict in verdicts[told:])
    assert [bool(v.message) for v in verdicts].count(True) == 1


def test_after_a_long_warm_up_a_fall_is_seen_before_there_is_a_reference():
    curve = [dict.fromkeys("abc", value) for value in [60.0] * 66 + falling_to(6.0, 0.93, 60)]
    verdicts = run(curve, [min(i / 64, 1.0) for i in range(len(curve))])
    assert next(i for i, verdict in enumerate(verdicts) if verdict.level == 2) < 66 + 20
    assert verdicts[-1].level == 2


def test_what_is_only_now_grave_has_to_last_as_long_as_anything_grave():
    """Two falls that nothing bears out and a third that something does are a warning."""
    alone, borne = {"participation_ratio": 20.0}, {"participation_ratio": 9.0}
    curve = [(60.0, alone)] * 10 + [(30.0, alone)] * 3 + [(30.0, borne)] * 3
    verdicts = run([{"a": reading(10 * i, rank, layer="a", **made)} for i, (rank, made) in enumerate(curve)])
    assert [verdict.level for verdict in verdicts[10:]] == [0, 0, 1, 1, 1, 2]


def test_a_drop_that_lies_far_back_is_not_told_again_as_one_of_just_now():
    """It came while the learning rate rose, when drops aren't judged."""
    curve = [dict.fromkeys("abc", value) for value in [60.0] * 30 + [15.0] * 60]
    verdicts = run(curve, [min(i / 64, 1.0) for i in range(len(curve))])
    assert "sudden_rank_drop" not in {kind for _, kind, *_ in raised(verdicts)}
    assert verdicts[-1].level == 2


@pytest.mark.parametrize("dip", [1, 2])
def test_a_short_dip_is_not(dip):
    assert not raised(run([{"a": 60.0}] * 10 + [{"a": 30.0}] * dip + [{"a": 60.0}] * 5))


def test_a_healthy_slide_of_a_quarter_is_not():
    slide = [{"a": 60.0 - 0.25 * 60.0 * i / 60} for i in range(60)]
    assert not raised(run(slide))


def test_the_dip_after_the_start_is_not():
    start = [120.0, 90.0, 60.0, 45.0, 47.0, 55.0, 60.0, 62.0, 61.0, 60.0]
    assert not raised(run([{"a": value} for value in start]))


def test_a_collapse_during_the_warm_up_is_seen_against_the_start():
    """Before any reference can form: the curve of a broken run whose rank is gone by its fifth reading."""
    curve = [90.0, 88.0, 80.0, 34.0] + [9.0] * 6
    assert raised(run([{"a": value} for value in curve]))[0] == (6, "dimensional_collapse", "critical", "a")
    gentle = [90.0, 88.0, 80.0, 60.0] + [50.0] * 6
    assert not raised(run([{"a": value} for value in gentle]))


def test_a_slow_contraction_below_the_start_is_not_an_alarm_later():
    curve = [200.0] * 4 + [90.0 * 0.995**i for i in range(150)]
    assert not raised(run([{"a": value} for value in curve]))


def test_one_lucky_reading_makes_no_reference():
    assert not raised(run([{"a": 60.0}] * 8 + [{"a": 200.0}] + [{"a": 60.0}] * 8))


def test_an_alarm_is_never_within_the_readings_own_error():
    wide = [{"a": 60.0}] * 10 + [{"a": 31.0}] * 5
    assert raised(run(wide, half_width=1.0))
    assert not raised(run(wide, half_width=5.0))


@pytest.mark.parametrize("made", [{"level": "utterance"}, {"source": "train"}, {"source": "music"}])
def test_utterance_level_train_mode_and_further_sets_alone_only_warn(made):
    verdicts = run([{"a": 60.0}] * 10 + [{"a": 20.0}] * 5, **made)
    assert {severity for _, _, severity, _ in raised(verdicts)} == {"warning"}


def test_constant_and_shared_vector_are_seen_from_the_first_steps():
    assert raised(run([{"a": 1.0}] * 3, mean_energy_fraction=1.0))[0][:3] == (1, "complete_collapse", "critical")
    # Whoever takes the shared vector off has all dimensions that there ever were: worth a line, and no alarm.
    held = run([{"a": 100.0}] * 4, mean_energy_fraction=0.9999)
    assert raised(held) == [(2, "anisotropy", "info", "a")]
    assert [(v.level, v.health, v.message) for v in held[2:]] == [(0, 1.0, "")] * 2
    # As long as there is only a random network's rank to compare with, it isn't certain that nothing is lost.
    held = run([{"a": 100.0}] * 10, mean_energy_fraction=0.9999)
    assert [v.healthy for v in held] == [False] * 6 + [True] * 4
    fallen = raised(run([{"a": 100.0}] * 4 + [{"a": 30.0}] * 4, mean_energy_fraction=0.9999))
    assert (6, "anisotropy", "critical", "a") in fallen
    assert not raised(run([{"a": 100.0}] * 4, mean_energy_fraction=0.99))


def test_what_was_information_needs_the_patience_to_become_an_alarm_and_ends_where_it_is_no_more_than_that():
    """70 % of the usual rank is less than the rest may lose beside a shared vector, and no fall by itself."""
    once = run([{"a": 100.0}] * 8 + [{"a": 70.0}] * 2 + [{"a": 100.0}] * 8, mean_energy_fraction=0.9999)
    assert raised(once) == [(2, "anisotropy", "info", "a")]
    verdicts = run([{"a": 100.0}] * 8 + [{"a": 70.0}] * 3 + [{"a": 100.0}] * 8, mean_energy_fraction=0.9999)
    assert raised(verdicts) == [(i, "anisotropy", severity, "a") for i, severity in ((2, "info"), (10, "critical"))] + [
        (16, "anisotropy", "info", "a")
    ]
    assert [v.level for v in verdicts] == [0] * 10 + [2] * 3 + [0] * 6
    assert "since step 80" in verdicts[10].message
    assert "ENDED" in verdicts[13].message


def test_a_brief_reading_beside_a_shared_vector_is_undecided_where_its_lower_end_would_be_a_loss():
    before = [{"a": 100.0}] * 8
    for half_width, undecided in ((5.0, False), (15.0, True)):
        now = replace(reading(80, 90.0, layer="a", half_width=half_width, mean_energy_fraction=0.9999), brief=True)
        assert run([*before, {"a": now}], mean_energy_fraction=0.9999)[-1].undecided is undecided


def test_a_cloud_on_a_line_is_seen_from_the_first_steps():
    assert raised(run([{"a": 1.02}] * 4)) == [(2, "dimensional_collapse", "critical", "a")]


@pytest.mark.parametrize(("fallen", "severity"), [("ab", "critical"), ("", "warning")])
def test_of_two_findings_of_one_kind_the_graver_counts(fallen, severity):
    """That hardly a dimension is left is no more than a warning while utterances keep theirs; a fall may be more."""
    columns = []
    for step in range(14):
        frames = {layer: reading(step, 60.0 if layer in fallen and step < 10 else 2.2, layer=layer) for layer in "ab"}
        means = {f"{layer}, means": reading(step, 40.0, layer=layer, level="utterance") for layer in "ab"}
        columns.append(frames | means)
    found = [alarm for alarm in run(columns)[-1].open if alarm.kind == "dimensional_collapse"]
    assert {(alarm.severity, alarm.level) for alarm in found} == {(severity, "frame")}
    assert ("of its usual 60.0" in found[0].message) == bool(fallen)


def test_nan_is_told_at_once_and_never_read_as_healthy():
    assert raised(run([{"a": math.nan}], non_finite_fraction=1.0)) == [(0, "non_finite", "critical", "a")]
    assert raised(run([{"a": 50.0}], non_finite_fraction=0.01)) == [(0, "non_finite", "warning", "a")]


def test_one_event_is_one_message_that_names_all_layers():
    healthy = [{"a": 60.0, "b": 70.0, "c": 80.0}] * 10
    broken = [{"a": 60.0, "b": 70.0, "c": 30.0}] + [{"a": 60.0, "b": 30.0, "c": 30.0}] * 6
    verdicts = run(healthy + broken)
    messages = [v.message for v in verdicts if v.message]
    assert len(messages) == 1
    assert "in c (1 of 3 layers)" in messages[0]
    assert "Also seen in b, not yet confirmed." in messages[0]
    assert {alarm.layer for alarm in verdicts[-1].open} == {"b", "c"}


def test_recovery_ends_the_episode_only_after_as_many_clean_readings():
    verdicts = run([{"a": 60.0}] * 10 + [{"a": 30.0}] * 4 + [{"a": 60.0}] * 4)
    assert [v.level for v in verdicts[12:]] == [2, 2, 2, 2, 0, 0]


def test_a_second_event_is_told_though_a_warning_is_still_open():
    def column(utterance, frame, step):
        return {
            "u": reading(10 * step, utterance, layer="u", level="utterance"),
            "f": reading(10 * step, frame, layer="f"),
        }

    curve = [(60, 60)] * 10 + [(20, 60)] * 4 + [(20, 20)] * 4 + [(20, 60)] * 4 + [(20, 20)] * 4
    verdicts = run([column(u, f, i) for i, (u, f) in enumerate(curve)])
    told = [(i, v.message.split()[0]) for i, v in enumerate(verdicts) if v.message]
    assert told == [(12, "WARNING"), (15, "CRITICAL"), (23, "CRITICAL")]


def test_a_very_slow_slide_is_a_warning_in_the_end():
    """Half a percent a reading hides from a reference of the recent past; the level it once held does not move."""
    slide = [{"a": 60.0}] * 12 + [{"a": 60.0 * 0.995**i} for i in range(250)]
    found = raised(run(slide))
    assert [(kind, severity) for _, kind, severity, _ in found] == [("slow_rank_decline", "warning")]
    assert slide[found[0][0]]["a"] == pytest.approx(0.4 * 60.0, rel=0.03)


def test_a_collapsed_curve_does_not_become_its_own_reference():
    verdicts = run([{"a": 60.0}] * 10 + [{"a": 20.0}] * 200)
    assert verdicts[-1].level == 2


def test_another_protocol_is_not_compared():
    state = AlarmState("first_batches")
    for i in range(10):
        state.assess(i, [reading(i, 60.0)])
    verdicts = [state.assess(10 + i, [reading(10 + i, 20.0, seed=1)]) for i in range(6)]
    assert not any(v.raised for v in verdicts)
    assert state.history.restarted == [("first_batches", "frame", "layers.0")]


def test_a_state_from_before_taps_were_recorded_goes_on_and_a_changed_tap_does_not():
    def tapped(step, rank, tap):
        plain = reading(step, rank)
        return replace(plain, protocol=replace(plain.protocol, tap=tap))

    state = AlarmState("first_batches")
    for step, tap in enumerate(["unknown"] * 4 + ["norm"] * 4 + ["unknown", "norm"]):
        state.assess(step, [tapped(step, 60.0, tap)])
    assert state.history.restarted == []
    (series,) = state.history.state_dict()
    assert (series["n_readings"], series["protocol"]) == (10, tapped(0, 60.0, "norm").protocol.id)
    state.assess(10, [tapped(10, 60.0, "residual_sum")])
    assert state.history.restarted == [("first_batches", "frame", "layers.0")]


def test_state_survives_a_restart():
    def columns():
        return [60.0] * 10 + [30.0] * 6

    uninterrupted = AlarmState("first_batches")
    expected = [uninterrupted.assess(i, [reading(i, v)]) for i, v in enumerate(columns())]
    state, seen = AlarmState("first_batches"), []
    for i, v in enumerate(columns()):
        seen.append(state.assess(i, [reading(i, v)]))
        fresh = AlarmState("first_batches")
        fresh.load_state_dict(state.state_dict(), {("first_batches", "frame", "layers.0")})
        state = fresh
    assert seen == expected


def test_the_reference_is_a_quantile_of_sound_readings_after_the_warm_up():
    state = AlarmState("first_batches", (RankDecline(ignored_readings=3, below_initial=0.0),))
    values = [500.0, 400.0, 300.0, 10.0, 11.0, 12.0, 13.0, 14.0]
    for i, value in enumerate(values):
        state.assess(i, [reading(i, value)])
    (series,) = state.history.open_series([reading(99, 0.0)]).values()
    assert series.reference(ignored_readings=3) == pytest.approx(13.2)  # the 80 % quantile of 10 .. 14
    assert series.reference(ignored_readings=7) is None


def test_an_alarm_about_a_layer_that_is_gone_does_not_stay_open():
    state = AlarmState("first_batches")
    for i, value in enumerate([60.0] * 10 + [20.0] * 4):
        state.assess(i, [reading(i, value)])
    fresh = AlarmState("first_batches")
    fresh.load_state_dict(state.state_dict(), {("first_batches", "frame", "layers.1")})
    verdict = fresh.assess(20, [reading(20, 60.0, layer="layers.1")])
    assert verdict.level == 0
    assert not verdict.open


def test_a_restart_of_the_learning_rate_tells_nothing_again():
    """The alarm still holds while the schedule begins anew: one event, one message."""
    state = AlarmState("first_batches")
    rates = [0.1 * (i + 1) for i in range(6)] + [0.6 - 0.05 * i for i in range(10)] + [0.1 * (i + 1) for i in range(6)]
    ranks = [60.0 + i % 2 for i in range(12)] + [20.0 + i % 2 for i in range(10)]
    verdicts = [state.assess(i, [reading(i, rank)], rates[i]) for i, rank in enumerate(ranks)]
    assert [v.message.split()[0] for v in verdicts if v.message] == ["CRITICAL"]
    assert verdicts[-1].level == 2


def test_an_unconfirmed_breach_asks_for_the_next_reading_sooner():
    verdicts = run([{"a": 60.0}] * 10 + [{"a": 20.0}] * 4)
    assert [v.unconfirmed for v in verdicts[9:14]] == [False, True, True, False, False]
    utterance = run([{"a": 60.0}] * 10 + [{"a": 20.0}] * 2, level="utterance")
    assert not any(v.unconfirmed for v in utterance)


@pytest.mark.parametrize(
    ("made", "kind"),
    [({}, "dimensional_collapse"), ({"within_utterance_variance_fraction": 0.999}, "utterance_collapse")],
)
def test_however_long_a_collapse_lasts_it_is_compared_with_what_was_before(made, kind):
    """A reference that is pushed out would end the alarm, and a collapsed checkpoint would become the healthy one."""
    good = {"within_utterance_variance_fraction": 0.6, "participation_ratio": 20.0}
    column = [reading(i, 60.0 + i % 2, **good) for i in range(20)]
    column += [reading(20 + i, 60.0 if made else 30.0, **{**good, **made}) for i in range(700)]
    state = AlarmState("first_batches")
    verdicts = [state.assess(one.step, [one]) for one in column]
    assert verdicts[-1].level > 0
    assert kind in {alarm.kind for alarm in verdicts[-1].open}
    assert not any(v.message.startswith("ENDED") for v in verdicts)


class Raises:
    kind, patience = "mine", 1

    def check(self, reading, past, context):
        raise ZeroDivisionError("mine")


def test_a_detector_that_raises_costs_nobody_elses_findings():
    state = AlarmState("first_batches", [Raises(), *default_detectors()])
    verdicts = [state.assess(i, [reading(i, 1.2)]) for i in range(4)]
    assert verdicts[-1].level == 2
    assert isinstance(verdicts[0].failed["mine"], ZeroDivisionError)


@pytest.mark.parametrize("word", ["low", "default", "high"])
def test_what_is_certain_is_told_alike_by_all_sensitivities(word):
    state = AlarmState("first_batches", default_detectors(word))
    verdicts = [state.assess(i, [reading(i, 1.2)]) for i in range(4)]
    assert [v.level for v in verdicts] == [0, 0, 2, 2]


def test_nan_that_comes_and_goes_is_one_event():
    shares = [0.002 * (i % 2) for i in range(20)]
    state = AlarmState("first_batches")
    verdicts = [state.assess(i, [reading(i, 60.0 + i % 2, non_finite_fraction=v)]) for i, v in enumerate(shares)]
    assert len([v for v in verdicts if v.message]) == 1


def test_readings_of_one_step_are_judged_by_what_was_before_all_of_them():
    seen = []

    class Spy:
        kind, patience = "spy", 1

        def check(self, reading, past, context):
            seen.append([series.n_readings for series in context.series.values()])

    state = AlarmState("first_batches", [Spy()])
    state.assess(0, [reading(0, 60.0, layer="a"), reading(0, 60.0, layer="b")])
    assert seen == [[0, 0], [0, 0]]
