"""How the variance is shared: within utterances, between them, among layers, sources and codes."""

import dataclasses

import pytest
from curves import past_of
from readings import codebook_reading, reading

from rankwatch.alarms.detectors import (
    CodebookCollapse,
    DataShift,
    DomainGap,
    LayerOutlier,
    StepContext,
    TemporalCollapse,
    UtteranceCollapse,
)
from rankwatch.alarms.history import Series


def shares_cpu_with_training(now, others):
    """A moment in which `others` (reading, its past) were read too."""
    readings = {r.key: r for r in (now, *(r for r, _ in others))}
    return StepContext("first_batches", readings, {r.key: past for r, past in others})


def within(share, usually=0.5, detector=None, **made):
    past = past_of([60.0] * 10, within_utterance_variance_fraction=usually)
    return detector.check(
        reading(99, 60.0, within_utterance_variance_fraction=share, **made), past, StepContext("first_batches")
    )


def test_frames_of_an_utterance_that_are_alike():
    assert within(0.02, detector=TemporalCollapse()) is not None
    assert within(0.04, detector=TemporalCollapse()) is None
    assert within(0.02, usually=0.05, detector=TemporalCollapse()) is None  # it was always near that
    assert within(0.02, detector=TemporalCollapse(), source="train") is None


def test_utterances_that_are_alike_while_their_frames_differ():
    assert within(0.99, detector=UtteranceCollapse()) is not None
    assert within(0.97, detector=UtteranceCollapse()) is None
    assert within(0.99, usually=0.97, detector=UtteranceCollapse()) is None
    fresh = UtteranceCollapse().check(
        reading(0, 60.0, within_utterance_variance_fraction=1.0), past_of([]), StepContext("first_batches")
    )
    assert fresh is None  # so it is in random networks


def test_utterances_may_seem_alike_by_chance_where_there_are_few():
    """Of 8 utterances in 4 dimensions a share of 0.2 and one of nothing are within the error of each other."""
    past = past_of([60.0] * 10, within_utterance_variance_fraction=0.8)
    now = reading(99, 60.0, within_utterance_variance_fraction=1.0, participation_ratio=4.0)
    assert UtteranceCollapse().check(now, past, StepContext("first_batches")) is not None
    few = dataclasses.replace(now, protocol=dataclasses.replace(now.protocol, utterances=8))
    assert UtteranceCollapse().check(few, past, StepContext("first_batches")) is None


def test_one_layer_that_leaves_the_others():
    now = reading(99, 40.0)
    others = [(reading(99, 60.0, layer=f"layers.{i}"), past_of([60.0] * 10)) for i in (1, 2)]
    found = LayerOutlier().check(now, past_of([60.0] * 10), shares_cpu_with_training(now, others))
    assert not found.can_be_critical
    falling = [(reading(99, 40.0, layer=f"layers.{i}"), past_of([60.0] * 10)) for i in (1, 2)]
    assert LayerOutlier().check(now, past_of([60.0] * 10), shares_cpu_with_training(now, falling)) is None
    assert (
        LayerOutlier().check(now, past_of([60.0] * 10), shares_cpu_with_training(now, others[:1])) is None
    )  # of two nobody is apart


@pytest.mark.parametrize(("inside", "found"), [(60.0, True), (50.0, False)])
def test_out_of_domain_falls_while_in_domain_holds(inside, found):
    now = reading(99, 30.0, source="music")
    context = shares_cpu_with_training(now, [(reading(99, inside), past_of([60.0] * 10))])
    assert (DomainGap().check(now, past_of([60.0] * 10), context) is not None) is found


def test_a_codebook_that_is_hardly_used():
    def found(before, now):
        past = Series("")
        for i, perplexity in enumerate(before):
            past.add(codebook_reading(i, perplexity), clean=True)
        return CodebookCollapse().check(codebook_reading(len(before), now), past, StepContext("first_batches"))

    assert found([], 1.9) is not None  # next to nothing, from the start
    assert found([], 30.0) is None
    assert found([100.0] * 10, 40.0) is not None
    assert found([100.0] * 10, 60.0) is None


def test_changed_data_is_information_only():
    now = reading(99, 30.0, source="train")
    held = shares_cpu_with_training(now, [(reading(99, 58.0), past_of([60.0] * 10))])
    assert DataShift().check(now, past_of([60.0] * 10), held).info_only
    fallen = shares_cpu_with_training(now, [(reading(99, 30.0), past_of([60.0] * 10))])
    assert DataShift().check(now, past_of([60.0] * 10), fallen) is None
