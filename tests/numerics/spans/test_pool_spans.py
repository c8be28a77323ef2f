"""Rows of spans are the means of their frames, and frames have the label of the span that their centre lies in."""

import numpy as np
import pytest
import torch

from rankwatch.metrics import frame_labels, pool_spans

SPANS = [(0.0, 0.06, "a"), (0.06, 0.065, "t"), (0.065, 0.12, "o"), (0.3, 0.4, "x")]


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16, "numpy"])
def test_each_row_is_the_mean_of_its_frames(kind):
    frames = torch.randint(0, 9, (6, 3), generator=torch.Generator().manual_seed(0))
    given = frames.numpy().astype(np.float32) if kind == "numpy" else frames.to(kind)
    found = pool_spans(given, SPANS, 50.0)
    assert found.labels == ("a", "o")
    assert found.kept == (0, 2)
    assert found.rows.dtype == (torch.float64 if kind == torch.float64 else torch.float32)
    torch.testing.assert_close(found.rows.double(), torch.stack([frames[:3], frames[3:]]).double().mean(dim=1))
    assert found.counts == {"past_the_end": 1, "shorter_than_a_frame": 1}
    assert found.reasons[1] == {"shorter_than_a_frame"}


def test_nothing_to_pool_leaves_no_rows_of_the_right_width():
    assert pool_spans(torch.zeros(0, 4), SPANS, 50.0).rows.shape == (0, 4)
    assert pool_spans(torch.zeros(5, 4), [], 50.0).rows.shape == (0, 4)
    with pytest.raises(ValueError, match=r"shape \(T, C\), got \(1, 5, 4\)"):
        pool_spans(torch.zeros(1, 5, 4), SPANS, 50.0)


def test_a_frame_has_the_label_of_its_centre():
    # Centres at 0.01, 0.03, ...: 0.01 begins "b", which ends before 0.05.
    assert frame_labels([(0.0, 0.01, "a"), (0.01, 0.05, "b")], 4, 50.0) == ["b", "b", None, None]
    # Where labels overlap there is none; the same label twice is one.
    assert frame_labels([(0.0, 0.06, "a"), (0.02, 0.08, "b")], 4, 50.0) == ["a", None, None, "b"]
    assert frame_labels([(0.0, 0.06, "a"), (0.02, 0.08, "a")], 4, 50.0) == ["a"] * 4
    assert frame_labels([(0.02, float("nan"), "a"), (-1.0, 0.02, "b"), (0.07, 9.0, "c")], 4, 50.0) == [
        "b",
        None,
        None,
        "c",
    ]
