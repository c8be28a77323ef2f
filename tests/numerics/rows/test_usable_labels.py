"""Which labels are frequent enough, in rows and in utterances, and who is drawn where labels belong to speakers."""

import numpy as np
import pytest
import torch

from rankwatch.metrics import label_groups, usable_labels


def test_a_label_needs_rows_and_utterances():
    labels = ["a"] * 20 + ["b"] * 19 + ["c"] * 40 + ["d"] * 20
    groups = [k % 6 for k in range(39)] + [k % 5 for k in range(40)] + list(range(20))
    found = usable_labels(labels, groups)
    assert found.labels == ("a", "d")
    assert found.left_out == {"b": "too_few_rows", "c": "too_few_groups"}
    assert found.mask.tolist() == [True] * 20 + [False] * 59 + [True] * 20
    assert usable_labels(labels, groups, min_rows=19, min_groups=5).labels == ("a", "b", "c", "d")
    assert usable_labels(labels).labels == ("a", "c", "d")  # independent rows


@pytest.mark.parametrize("missing", [None, float("nan"), ""])
def test_rows_without_a_label_count_for_nothing(missing):
    found = usable_labels(["a", missing] * 30)
    assert found.labels == ("a",)
    assert found.unlabelled == 30
    assert found.mask.sum() == 30
    assert not found.left_out


def test_labels_and_groups_are_whatever_can_be_told_apart():
    numbers = torch.arange(60) % 3
    expected = usable_labels(numbers.tolist(), numbers.tolist(), min_groups=1)
    for labels in (numbers, numbers.numpy(), np.array(["p", "t", "k"])[numbers.numpy()]):
        assert usable_labels(labels, numbers, min_groups=1).mask.tolist() == expected.mask.tolist()
    with pytest.raises(ValueError, match="one group for each of 60 labels, got 2"):
        usable_labels(numbers, [0, 1])


def test_labels_of_speakers_are_drawn_with_their_speakers():
    utterances, speakers = list(range(8)), ["a", "a", "b", "b", "c", "c", "d", "d"]
    sex = ["f", "f", "m", "m", "f", None, "m", "m"]
    assert label_groups(sex, utterances, speakers).tolist() == speakers
    # The speaker's own name, and what changes from one of his utterances to the next, are asked across utterances.
    assert label_groups(speakers, utterances, speakers).tolist() == utterances
    assert label_groups(["joy", "fear"] * 4, utterances, speakers).tolist() == utterances
    assert label_groups(sex, utterances).tolist() == utterances
    with pytest.raises(ValueError, match="8, 8 and 2"):
        label_groups(sex, utterances, [0, 1])
