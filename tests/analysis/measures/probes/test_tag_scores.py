"""Scores of tagged spans, worked by hand."""

import numpy as np
import pytest

from rankwatch.analysis.measures.probes.probe_scores import Counts
from rankwatch.analysis.measures.probes.tag_scores import (
    by_utterance,
    count_frames,
    count_labels,
    count_spans,
    spans_of,
    told_tags,
)
from rankwatch.corpora import Span

TAGS = ["ORG", "PLACE"]


def f1(counted):
    """Over all tags."""
    parts = [part[None] for part in counted]
    return Counts(np.array(["u"]), *parts).score("probe_f1")[0]


def spans(*those):
    return tuple(Span(*one) for one in those)


def test_spans_are_right_where_they_share_more_than_half_of_both_together():
    true = spans((1.0, 2.0, "ORG"), (3.0, 4.0, "ORG"), (5.0, 6.0, "PLACE"), (8.0, 9.0, "PLACE"))
    told = spans(
        (1.2, 2.0, "ORG"),  # 0.8 of 1.0: right
        (3.0, 3.5, "ORG"),  # 0.5 of 1.0 is not more than half: wrong
        (5.0, 6.0, "ORG"),  # another tag: wrong
        (7.7, 9.2, "PLACE"),  # 1.0 of 1.5: right
    )
    hits, missed, false = count_spans(true, told, TAGS)
    assert (hits.tolist(), missed.tolist(), false.tolist()) == ([1, 1], [1, 1], [2, 0])
    assert f1((hits, missed, false)) == pytest.approx(2 * 2 / (2 * 2 + 2 + 2))


def test_a_span_in_two_pieces_is_none_or_one():
    true = spans((0.0, 1.0, "ORG"))
    hits, missed, false = count_spans(true, spans((0.0, 0.6, "ORG"), (0.6, 1.0, "ORG")), TAGS)
    assert (hits[0], missed[0], false[0]) == (1, 0, 1)
    hits, missed, false = count_spans(true, spans((0.0, 0.5, "ORG"), (0.5, 1.0, "ORG")), TAGS)
    assert (hits[0], missed[0], false[0]) == (0, 1, 2)
    hits, _, _ = count_spans(spans((0.0, 1.0, "ORG"), (5.0, 6.0, "ORG")), spans((0.0, 1.0, "ORG")), TAGS)
    assert hits[0] == 1


def test_labels_are_an_unordered_list_as_slue_has_it():
    true = spans((1.0, 2.0, "ORG"), (3.0, 4.0, "ORG"), (5.0, 6.0, "PLACE"))
    told = spans((8.0, 9.0, "ORG"), (0.0, 0.1, "PLACE"), (0.2, 0.3, "PLACE"))
    hits, missed, false = count_labels(true, told, TAGS)
    assert (hits.tolist(), missed.tolist(), false.tolist()) == ([1, 1], [1, 0], [0, 1])
    assert f1((hits, missed, false)) == pytest.approx(2 / 3)


def test_frames_are_ten_milliseconds_and_untagged_ones_count_for_nothing():
    true = spans((0.10, 0.20, "ORG"), (0.50, 0.53, "PLACE"))
    told = spans((0.15, 0.25, "ORG"), (0.50, 0.52, "ORG"))
    hits, missed, false = count_frames(true, told, TAGS)
    assert (hits.tolist(), missed.tolist(), false.tolist()) == ([5, 0], [5, 3], [7, 0])
    assert f1((hits, missed, false)) == pytest.approx(10 / (10 + 8 + 7))
    assert f1(count_frames(true, (), TAGS)) == 0.0
    assert f1(count_frames(true, true, TAGS)) == 1.0


def test_consecutive_cells_of_one_tag_are_one_span():
    told = np.array([0, 0, -1, 1, 0, -1, -1, 1])
    assert spans_of(told, TAGS, 1.0) == spans((0, 2, "ORG"), (3, 4, "PLACE"), (4, 5, "ORG"), (7, 8, "PLACE"))
    assert spans_of(np.array([-1, -1]), TAGS) == ()
    assert spans_of(np.array([], dtype=int), TAGS) == ()


def test_of_each_tag_as_many_cells_are_told_as_have_it_and_never_across_utterances():
    scores = np.array([[0.0], [0.9], [0.9], [0.9], [0.0], [0.8], [0.1], [0.1]])
    utterances = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    has = np.zeros((8, 1))
    has[:3] = 1.0
    # Means of three: .45, .6, .9, .6, .45 and .45, .33, .1: the third highest is .6, and none of the other utterance.
    assert told_tags(scores, has, utterances).tolist() == [-1, 0, 0, 0, -1, -1, -1, -1]
    rare = np.zeros((8, 1))
    assert (told_tags(scores, rare, utterances) == -1).all()


def test_a_cell_has_the_tag_whose_threshold_it_exceeds_by_most():
    scores = np.zeros((9, 2))
    scores[:3, 0], scores[3:6, 1] = 0.3, 0.1  # a rare tag has low scores throughout
    scores[3:6, 0] = 0.05
    has = np.zeros((9, 2))
    has[1, 0] = has[4, 1] = 1.0
    told = told_tags(scores, has, np.zeros(9, dtype=int))
    assert told.tolist() == [0, 0, -1, -1, 1, -1, -1, -1, -1]


def test_for_chance_predictions_are_those_of_others_cut_at_the_end():
    told = {"a": spans((0.0, 1.0, "ORG")), "b": spans((1.0, 3.0, "PLACE"), (5.0, 6.0, "ORG")), "c": ()}
    seconds = {"a": 2.0, "b": 9.0, "c": 4.0}
    assert by_utterance(told, seconds, 1) == {"a": spans((1.0, 2.0, "PLACE")), "b": (), "c": spans((0.0, 1.0, "ORG"))}
    assert by_utterance(told, seconds, 2)["a"] == ()
