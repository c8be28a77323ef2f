"""Patches as tokens: order, counts, merged stages and random choices."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rankwatch.extraction.valid_frames.input_axes import InputAxes, input_axes
from rankwatch.extraction.valid_frames.time_masks import are_chosen
from rankwatch.extraction.valid_frames.token_grids import (
    TokenGrid,
    at_another_scale,
    grid_of,
    grid_of_rearranged,
    in_order_of_time,
    tokens_behind,
    without_order,
)


class TestInputAxes:
    @pytest.mark.parametrize(
        ("shape", "counts", "expected"),
        [
            ((2, 16000), (), InputAxes(16000)),
            ((2, 1, 16000), (), InputAxes(16000)),
            ((2, 100, 80), (), InputAxes(100, 80, True)),
            ((2, 80, 50), (), InputAxes(50, 80, False)),  # shorter than it is wide
            ((2, 1, 128, 1024), (), InputAxes(1024, 128, False)),
            ((2, 1024, 128, 1), (), InputAxes(1024, 128, True)),
            ((2, 3, 64, 128), (64,), InputAxes(64, 128, True)),  # a length says so
            ((2, 1, 100, 100), (), None),
        ],
    )
    def test_time_and_bands(self, shape, counts, expected):
        assert input_axes([torch.zeros(shape)], counts) == expected

    def test_features_of_a_stage_in_the_call_say_less_than_the_spectrogram_in_the_batch(self):
        features, spectrogram = torch.zeros(2, 16, 32, 500), torch.zeros(2, 1, 64, 1000)
        assert input_axes([features, spectrogram]) == InputAxes(1000, 64, False)


@given(st.integers(1, 12), st.integers(2, 6), st.integers(0, 3), st.booleans(), st.integers(1, 3))
def test_tokens_of_one_time_stand_together(time, bands, extra, time_first, batch):
    """Every patch carries its time and its band; after the arrangement times ascend and each has all bands."""
    grid = torch.stack(torch.meshgrid(torch.arange(time), torch.arange(bands), indexing="ij"), dim=-1).float()
    order = grid if time_first else grid.transpose(0, 1)
    tokens = torch.cat([torch.full((extra, 2), -1.0), order.reshape(-1, 2)]).expand(batch, -1, -1)
    arranged = in_order_of_time(tokens, TokenGrid(time, bands, time_first))
    assert arranged is not None
    assert arranged.per_frame == bands
    assert torch.equal(arranged.hidden, grid.reshape(-1, 2).expand(batch, -1, -1))


@given(st.integers(16, 70), st.integers(16, 70), st.integers(2, 8), st.booleans())
def test_the_grid_is_that_of_the_convolution(first, second, patch, time_first):
    """Whatever the sizes, as long as the axes of the input are known."""
    time, bands = (first, second) if time_first else (second, first)
    conv = nn.Conv2d(1, 3, patch, patch)
    with torch.no_grad():
        hidden = conv(torch.zeros(2, 1, first, second))
    grid = grid_of(hidden, conv, InputAxes(time, bands, time_first), 2)
    assert grid is None or (grid.time, grid.bands) == (time // patch, bands // patch)
    if abs(first // patch - second // patch) > 1:
        assert grid is not None
        assert grid.time_first == time_first


def test_patches_that_were_rearranged():
    embedding = nn.Sequential(nn.Identity(), nn.Linear(16 * 16, 24))
    assert grid_of_rearranged(embedding, InputAxes(200, 64, False), 12 * 4) == TokenGrid(12, 4, False)
    assert grid_of_rearranged(embedding, InputAxes(200, 64, False), 12 * 4 + 1) is None
    assert grid_of_rearranged(embedding, InputAxes(16000), 100) is None


class _Rearrange(nn.Module):
    """As einops' layer: a pattern, and the sizes that it names."""

    def __init__(self, pattern: str, **sizes: int) -> None:
        super().__init__()
        self.pattern, self.axes_lengths = pattern, sizes


class TestPatchesThatSayTheirSize:
    """Of 256 values in a patch, 64 x 4 would be as likely as 16 x 16, and gives as many: 192 frames make 48 tokens."""

    MELS_FIRST, TIME_FIRST = InputAxes(192, 64, False), InputAxes(192, 64, True)

    @pytest.mark.parametrize(
        ("pattern", "sizes", "first", "expected"),
        [
            ("b c (h p1) (w p2) -> b (w h) (p1 p2 c)", {"p1": 64, "p2": 4}, False, (48, 1)),
            ("b c (h p1) (w p2) -> b (h w) (p1 p2 c)", {"p1": 16, "p2": 16}, False, (12, 4, False)),
            ("b c (h p1) (w p2) -> b (w h) (p1 p2 c)", {"p1": 16, "p2": 16}, False, (12, 4, True)),
            ("b (t p1) (f p2) -> b (t f) (p1 p2)", {"p1": 16, "p2": 16}, True, (12, 4, True)),
            ("b (t p1) (f p2) -> b (f t) (p1 p2)", {"p1": 8, "p2": 32}, True, (24, 2, False)),
            ("b c f (t p) -> b t (c f p)", {"p": 4}, False, None),
        ],
    )
    def test_by_the_pattern(self, pattern, sizes, first, expected):
        embedding = nn.Sequential(_Rearrange(pattern, **sizes), nn.Linear(256, 24))
        found = grid_of_rearranged(embedding, self.TIME_FIRST if first else self.MELS_FIRST, 48)
        if expected is None:
            assert found is None
        else:
            assert (found.time, found.bands) == expected[:2]
            assert expected[2:] in ((), (found.time_first,))

    def test_by_attributes(self):
        for said, expected in (((64, 4), (48, 1)), (16, (12, 4)), ((32, 8), (24, 2))):
            embedding = nn.Sequential(nn.Linear(256, 24))
            embedding.patch_size = said
            found = grid_of_rearranged(embedding, self.MELS_FIRST, 48)
            assert (found.time, found.bands) == expected
        embedding = nn.Sequential(nn.Linear(256, 24))
        embedding.patch_height, embedding.patch_width = 64, 4
        assert grid_of_rearranged(embedding, self.MELS_FIRST, 48).bands == 1
        unfold = nn.Sequential(nn.Unfold((64, 4), stride=(64, 4)), nn.Linear(256, 24))
        assert grid_of_rearranged(unfold, self.MELS_FIRST, 48).bands == 1

    def test_lengths_above_the_number_of_times_count_tokens(self):
        embedding = nn.Sequential(nn.Linear(256, 24))
        assert grid_of_rearranged(embedding, self.MELS_FIRST, 48, torch.tensor([48, 20])) is None
        assert grid_of_rearranged(embedding, self.MELS_FIRST, 48, torch.tensor([12, 5])) == TokenGrid(12, 4, False)


def test_merged_stages():
    grid = TokenGrid(25, 16, False)
    assert at_another_scale(grid, 13 * 8) == TokenGrid(13, 8, False)
    assert at_another_scale(grid, 50 * 32) == TokenGrid(50, 32, False)
    assert at_another_scale(grid, 101) is None


def test_a_merged_stage_with_a_token_of_the_whole_clip():
    assert at_another_scale(TokenGrid(24, 16, False), 1 + 12 * 8) == TokenGrid(12, 8, False)


@given(st.integers(0, 4), st.integers(0, 4), st.integers(2, 5), st.integers(2, 5), st.booleans())
def test_tokens_of_no_patch_before_and_behind(before, behind, time, bands, time_first):
    """They are the same in all utterances where patches were embedded, and then that is known of all layers."""
    generator = torch.Generator().manual_seed(before + 5 * behind)
    extra = torch.randn(before + behind, 3, generator=generator).expand(2, -1, -1)
    patches = torch.randn(2, time * bands, 3, generator=generator)
    embedded = torch.cat([extra[:, :before], patches, extra[:, before:]], dim=1)
    assert tokens_behind(embedded, time * bands) == behind
    tokens = without_order(embedded, time * bands, behind)
    assert torch.equal(tokens.hidden, patches)
    arranged = in_order_of_time(embedded, TokenGrid(time, bands, time_first), behind)
    axes = (time, bands) if time_first else (bands, time)
    by_time = patches.unflatten(1, axes) if time_first else patches.unflatten(1, axes).transpose(1, 2)
    assert torch.equal(arranged.hidden, by_time.flatten(1, 2))


class TestChosen:
    def test_masks_and_indices_say_so(self):
        seen = torch.stack([torch.randperm(40)[:17] for _ in range(3)])
        mask = torch.zeros(3, 40, dtype=torch.bool).scatter_(1, seen, True)
        assert are_chosen(17, 40, [{"context": [seen]}], 3)
        assert are_chosen(17, 40, [{"mask": mask}], 3)
        assert are_chosen(17, 40, [{"mask": ~mask}], 3)
        assert are_chosen(10, 40, [{"mask_ratio": 0.75}], 3)

    def test_padding_and_labels_do_not(self):
        padding = (torch.arange(40) < 17).expand(3, -1)
        labels = torch.randint(0, 500, (3, 17))
        assert not are_chosen(17, 40, [{"padding_mask": padding, "labels": labels}], 3)
        assert not are_chosen(20, 40, [{"subsampling_ratio": 0.5}], 3)
        assert not are_chosen(40, 40, [{"mask_ratio": 0.5}], 3)
