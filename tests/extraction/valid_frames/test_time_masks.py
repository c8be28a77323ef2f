"""Frames under the mask of a training call are told from the others, and drawn apart."""

from __future__ import annotations

import pytest
import torch

from rankwatch.extraction.rows.row_sampling import sample_frames, sample_rows
from rankwatch.extraction.valid_frames.time_masks import mask_of, time_masks

MASK = torch.tensor([[0, 1, 1, 0, 1, 0], [1, 0, 0, 1, 1, 0]])


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_found_by_name_and_form_in_any_type(dtype: torch.dtype) -> None:
    found = time_masks((), {"mask_time_indices": MASK.to(dtype)}, None, batch_size=2)
    assert [mask.masked.tolist() for mask in found] == [MASK.bool().tolist()]


def test_a_known_name_is_enough_others_need_the_form() -> None:
    everything = torch.zeros(2, 6, dtype=torch.bool)
    prefix = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    assert len(time_masks((), {"mask_time_indices": everything}, None, batch_size=2)) == 1
    for name in ("mask", "time_mask", "mask_indices"):
        assert not time_masks((), {name: everything}, None, batch_size=2)
        assert not time_masks((), {name: prefix}, None, batch_size=2)
        assert time_masks((), {name: MASK}, None, batch_size=2)


OTHERS = ["attention_mask", "padding_mask", "mask_channel", "loss_mask", "key_mask", "labels"]
OTHERS += ["keep_mask", "mask_keep", "vad_mask", "speech_mask", "valid_mask", "unmasked", "visible"]


@pytest.mark.parametrize("name", OTHERS)
def test_other_masks_are_none(name: str) -> None:
    assert not time_masks((), {name: MASK}, None, batch_size=2)


def test_of_another_size_or_content_is_none() -> None:
    assert not time_masks((), {"mask": MASK[:1]}, None, batch_size=2)
    assert not time_masks((), {"mask": 2 * MASK}, None, batch_size=2)
    assert not time_masks((), {"mask": MASK[:, :, None].expand(2, 6, 3)}, None, batch_size=2)


def test_in_the_batch_and_by_position() -> None:
    def forward(audio: object, mask: object) -> None: ...

    assert len(time_masks((torch.zeros(2, 90), MASK), {}, None, batch_size=2, forward=forward)) == 1
    assert len(time_masks((), {}, {"net_input": {"mask_indices": MASK}}, batch_size=2)) == 1


def test_the_mask_of_a_layer_is_as_long_as_it_or_cut_off() -> None:
    masks = time_masks((), {"mask": MASK}, None, batch_size=2)
    assert torch.equal(mask_of(masks, 6).masked.long(), MASK)
    cut = mask_of(masks, 4)
    assert cut is not None
    assert torch.equal(cut.masked.long(), MASK[:, :4])
    assert mask_of(masks, 3) is None
    assert mask_of(masks, 7) is None


def test_of_several_that_differ_none_is_taken() -> None:
    twice = mask_of(time_masks((), {"mask": MASK, "time_mask": MASK.clone()}, None, batch_size=2), 6)
    assert torch.equal(twice.masked.long(), MASK)
    assert mask_of(time_masks((), {"mask": MASK, "time_mask": 1 - MASK}, None, batch_size=2), 6) is None


def test_only_frames_that_count_are_drawn_and_averaged() -> None:
    hidden = torch.arange(12.0).reshape(2, 6, 1)
    keys, frames, among = torch.tensor([5, 6]), torch.tensor([6, 4]), MASK == 0
    assert [p.tolist() for p in sample_frames(frames, keys, 9, among=among)] == [[0, 3, 5], [1, 2]]
    drawn = sample_rows(hidden, frames, keys, per_utterance=9, among=among)
    assert drawn.frame_rows.flatten().tolist() == [0, 3, 5, 7, 8]
    assert drawn.utterance_rows.flatten().tolist() == pytest.approx([8 / 3, 7.5])
    under = sample_rows(hidden, frames, keys, per_utterance=9, among=~among)
    assert under.frame_rows.flatten().tolist() == [1, 2, 4, 6, 9]


def test_an_utterance_of_which_nothing_counts_gives_no_row_and_is_not_too_short() -> None:
    among = torch.tensor([[False] * 6, [True] * 6])
    drawn = sample_rows(torch.rand(2, 6, 3), torch.tensor([6, 6]), torch.tensor([1, 2]), per_utterance=2, among=among)
    assert (len(drawn.frame_rows), len(drawn.utterance_rows), drawn.dropped) == (2, 1, 0)
    assert drawn.utterance_keys.tolist() == [2]


def test_every_frame_that_counts_is_the_same_as_no_mask() -> None:
    hidden, frames, keys = torch.rand(2, 6, 3), torch.tensor([6, 4]), torch.tensor([5, 6])
    plain = sample_rows(hidden, frames, keys, per_utterance=3)
    masked = sample_rows(hidden, frames, keys, per_utterance=3, among=torch.ones(2, 6, dtype=torch.bool))
    assert torch.equal(plain.frame_rows, masked.frame_rows)
    assert torch.equal(plain.utterance_rows, masked.utterance_rows)
