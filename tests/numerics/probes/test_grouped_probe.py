"""Leaving groups out in closed form is what refitting for every group gives."""

import math

import pytest
import torch

from rankwatch.numerics import grouped_probe


def _labelled(n=300, d=16, noise=0.5, seed=0, classes=5):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=generator)
    centres = torch.randn(classes, d, generator=torch.Generator().manual_seed(99))
    return centres[labels] + noise * torch.randn(n, d, generator=generator), labels


def test_separated_classes_are_found_in_any_order_and_scale_and_noise_is_at_chance():
    x, y = _labelled()
    groups = torch.arange(300) // 30
    result = grouped_probe(x, y, groups)
    assert result.accuracy > 0.9
    assert result.chance == pytest.approx(0.2)
    assert result.majority == pytest.approx(y.bincount().max().item() / 300)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    assert grouped_probe(x[order], y[order], groups[order]) == result
    assert grouped_probe(7.0 + 3e-3 * x.double(), y, groups).accuracy == pytest.approx(result.accuracy, abs=0.01)
    noise = torch.randn(300, 16, generator=torch.Generator().manual_seed(5))
    assert grouped_probe(noise, y, groups).accuracy == pytest.approx(0.2, abs=0.08)


def test_a_speaker_is_never_in_training_and_test():
    """Rows tell the speaker, and labels hang on the speaker alone: splitting rows would find all, speakers none."""
    generator = torch.Generator().manual_seed(0)
    voices = torch.randn(12, 32, generator=generator)
    speaker = torch.arange(12).repeat_interleave(20)
    label = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0])[speaker]
    x = voices[speaker] + 0.1 * torch.randn(240, 32, generator=generator)
    assert grouped_probe(x, label, torch.arange(240)).accuracy == 1.0
    assert grouped_probe(x, label, speaker).accuracy < 0.75


def test_a_label_of_one_group_alone_is_missed():
    x, y = _labelled(noise=0.01)
    assert grouped_probe(x, y, y).accuracy == 0.0


def test_rows_that_are_all_alike_are_given_the_most_frequent_label():
    y = torch.tensor([0] * 60 + [1] * 40)
    result = grouped_probe(torch.ones(100, 8), y, torch.arange(100) % 5)
    assert result.accuracy == result.majority == pytest.approx(0.6)


def test_rows_that_are_not_finite_are_left_out():
    x, y = _labelled()
    groups = torch.arange(300) // 30
    spoilt = torch.cat([x, torch.full((3, 16), math.nan)])
    more = torch.cat([groups, torch.tensor([0, 1, 99])])
    assert grouped_probe(spoilt, torch.cat([y, y[:3]]), more) == grouped_probe(x, y, groups)


@pytest.mark.parametrize(("labels", "groups"), [([1, 1, 1], [0, 1, 2]), ([0, 1, 2], [4, 4, 4]), ([], [])])
def test_without_two_labels_and_two_groups_there_is_no_number(labels, groups):
    assert math.isnan(grouped_probe(torch.zeros(len(labels), 2), torch.tensor(labels), torch.tensor(groups)).accuracy)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="ridge"):
        grouped_probe(torch.eye(2), [0, 1], [0, 1], ridge=0.0)
    with pytest.raises(ValueError, match="groups"):
        grouped_probe(torch.eye(2), [0, 1], [0, 1, 2])
