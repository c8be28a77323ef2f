"""Frames of spans against examples worked by hand, on both conventions that are in use."""

import pytest

from rankwatch.metrics import span_frames


def _frames(start, end, n_frames=100, frame_rate=50.0, convention="frame_centres", **options):
    found = span_frames([(start, end, "a")], n_frames, frame_rate, convention=convention, **options)
    return list(range(*found.ranges[0])) if found.ranges else [], set(found.reasons[0])


# Centres are at 0.01, 0.03, 0.05, ... s. fastabx 0.9.0 gives the same ranges.
@pytest.mark.parametrize(
    ("start", "end", "frames"),
    [
        (0.0, 0.06, [0, 1, 2]),
        (0.01, 0.05, [0, 1, 2]),  # a centre on either border belongs to the span
        (0.011, 0.049, [1]),
        (0.05, 0.07, [2, 3]),  # shares frame 2 with the span before it, both touching 0.05
        (0.14, 0.1501, [7]),  # 0.14 / 0.02 is 7.000000000000001 in floating point
        (0.29, 0.31, [14, 15]),  # 0.29 * 50 - 0.5 is 13.999999999999998
    ],
)
def test_frame_centres_within_a_span(start, end, frames):
    assert _frames(start, end) == (frames, set())


def test_a_span_between_two_centres_has_no_frame():
    assert _frames(0.011, 0.029) == ([], {"shorter_than_a_frame"})
    assert _frames(0.031, 0.044, frame_rate=100.0)[0] == [3]  # 0.035 at twice the rate


# k frames touched: floor((k + 1) / 3) are cut from each end, and one is left at least (the second of two).
@pytest.mark.parametrize(
    ("touched", "left"),
    [(1, [0]), (2, [1]), (3, [1]), (4, [1, 2]), (5, [2]), (6, [2, 3]), (7, [2, 3, 4]), (8, [3, 4]), (9, [3, 4, 5])],
)
def test_thirds_cut_from_phones(touched, left):
    end = 0.02 * touched
    assert _frames(0.0, end, convention="pasad_phones") == (left, set())
    assert _frames(0.001, end - 0.001, convention="pasad_phones") == (left, set())
    assert _frames(0.2, 0.2 + end, convention="pasad_phones")[0] == [10 + i for i in left]
    assert _frames(0.0, end, convention="pasad_words") == (list(range(touched)), set())


def test_words_have_all_frames_that_they_touch():
    assert _frames(0.019, 0.041, convention="pasad_words")[0] == [0, 1, 2]
    assert _frames(0.02, 0.04, convention="pasad_words")[0] == [1]
    # 0.14 / 0.02 is a little more than 7 in floating point: frame 7, which begins at 0.14, isn't touched.
    assert _frames(0.1, 0.14, convention="pasad_words")[0] == [5, 6]
    assert _frames(0.05, 0.05, convention="pasad_phones")[0] == [2]  # no duration: the frame that it lies in


def test_the_first_centre_moves_all_frames():
    # wav2vec 2.0: centres at 0.0125, 0.0325, ...; frame 0 stands for 0.0025 to 0.0225 s.
    assert _frames(0.0, 0.012, first_centre=0.0125) == ([], {"shorter_than_a_frame"})
    assert _frames(0.0, 0.0325, first_centre=0.0125)[0] == [0, 1]
    assert _frames(0.02, 0.04, first_centre=0.0125, convention="pasad_words")[0] == [0, 1]


def test_spans_past_the_end_are_cut_or_have_no_row():
    assert _frames(0.08, 0.2, n_frames=5) == ([4], {"cut_at_the_end"})
    assert _frames(0.11, 0.2, n_frames=5) == ([], {"past_the_end"})
    assert _frames(-0.5, -0.1) == ([], {"past_the_end"})
    assert _frames(0.0, 0.1, n_frames=0) == ([], {"past_the_end"})


def test_overlaps_and_impossible_times_are_counted():
    spans = [(0.0, 0.5), (0.1, 0.2), (0.5, 0.6), (0.7, 0.6), (float("nan"), 1.0), (0.6, 0.8), (0.3, 0.4), (0.9, 1.0)]
    found = span_frames(spans, 100, 50.0)
    assert [sorted(reasons) for reasons in found.reasons] == [
        ["overlapping"],
        ["overlapping"],
        [],
        ["no_times"],
        ["no_times"],
        [],
        ["overlapping"],
        [],
    ]
    assert found.kept == (0, 1, 2, 5, 6, 7)
    assert found.counts == {"no_times": 2, "overlapping": 3}


@pytest.mark.parametrize("rate", [0.0, -50.0, float("nan")])
def test_what_cannot_be_is_refused(rate):
    with pytest.raises(ValueError, match="frame_rate must be positive"):
        span_frames([], 10, rate)
    with pytest.raises(ValueError, match="convention must be one of 'frame_centres'"):
        span_frames([], 10, 50.0, convention="thirds")
    with pytest.raises(ValueError, match="first_centre"):
        span_frames([], 10, 50.0, first_centre=float("inf"))
