"""From samples to frames: convolutions, spectrograms, proportion, and what contradicts them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lengths_of import resolve_lengths
from padded_batch import FRAMES, LAYER, LENGTHS, WAVEFORMS, resolve
from speech_models import SAMPLES, audio
from torch import nn

from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.extraction.valid_frames.downsampling import chains, conv_length, to_frames
from rankwatch.extraction.valid_frames.observed_outputs import Observed
from rankwatch.extraction.valid_frames.valid_lengths import AmbiguousLengths

CONV = st.tuples(st.integers(1, 7), st.integers(1, 5), st.integers(0, 3), st.integers(1, 3))


@settings(max_examples=60, deadline=None)
@given(shapes=st.lists(CONV, min_size=1, max_size=4), lengths=st.lists(st.integers(0, 400), min_size=1, max_size=5))
def test_the_chain_counts_what_the_convolutions_give(
    shapes: list[tuple[int, int, int, int]], lengths: list[int]
) -> None:
    """Each utterance has the frames of its own forward pass; none where the convolutions refuse it."""
    model = nn.Sequential(*(nn.Conv1d(1, 1, k, s, padding=p, dilation=d) for k, s, p, d in shapes))

    def alone(length: int) -> int:
        try:
            return int(model(torch.zeros(1, 1, length)).shape[2]) if length > 0 else 0
        except RuntimeError:
            return 0

    chain = chains(model, [model])[0]
    assert chain(torch.tensor(lengths)).tolist() == [alone(length) for length in lengths]
    longest = max(lengths)
    mapped = to_frames(torch.tensor(lengths), longest, alone(longest), [chain])
    assert mapped is not None
    assert int(mapped[0].max()) == alone(longest)


def test_conv_length_is_never_negative() -> None:
    assert conv_length(torch.tensor([0, 1, 9, 10]), kernel=10, stride=5).tolist() == [0, 0, 0, 1]


class _Formula(nn.Module):
    def __init__(self, formula) -> None:
        super().__init__()
        self._get_feat_extract_output_lengths = formula


class TestFormulas:
    """A model's own, of whatever form: over vectors or one number at a time, with one answer or several."""

    @pytest.mark.parametrize(
        "formula",
        [
            lambda lengths: lengths // 320,
            lambda lengths: int(lengths / 320),
            lambda lengths: (lengths // 320, lengths // 640),
            lambda lengths: [int(lengths) // 320],
        ],
    )
    def test_are_ways(self, formula) -> None:
        ways = chains(_Formula(formula), [])
        assert ways[0](torch.tensor([3200, 640])).tolist() == [10, 2]
        assert ways[0].of(3200) == 10
        mapped = to_frames(torch.tensor([3200, 650]), 3200, 10, ways)
        assert mapped is not None
        assert mapped[0].tolist() == [10, 2]

    def test_each_answer_is_one(self) -> None:
        ways = chains(_Formula(lambda lengths: (lengths // 320, lengths // 640)), [])
        assert [way.of(3200) for way in ways] == [10, 5]

    @pytest.mark.parametrize("formula", [lambda lengths, bands: lengths, lambda lengths: "long", lambda lengths: 1 / 0])
    def test_what_is_none_of_lengths_alone_is_passed_over(self, formula) -> None:
        assert chains(_Formula(formula), []) == []


def test_convolutions_side_by_side_in_one_module() -> None:
    """Only the last of them is the front end."""
    model = nn.ModuleDict({"one": nn.Conv1d(1, 4, 10, 5), "two": nn.Conv1d(4, 4, 8, 4), "out": nn.Conv1d(4, 4, 3, 2)})
    ways = chains(model, [model["two"]])
    with torch.no_grad():
        frames = model["two"](model["one"](torch.zeros(1, 1, 8000))).shape[2]
    assert frames in [way.of(8000) for way in ways]
    mapped = to_frames(torch.tensor([8000, 5000]), 8000, frames, ways)
    assert mapped is not None
    assert mapped[0].tolist() == [398, 248]
    assert mapped[1] == "through 2 convolutions"


def test_a_front_end_has_no_frames_that_were_added_inside() -> None:
    """It pads outside of its convolutions; where the blocks have more than it, these were added."""
    conv = nn.Conv1d(1, 4, 20, 20)
    ways = chains(conv, [conv])
    counts = torch.tensor([7921, 4000])
    assert to_frames(counts, 7921, 400, ways) == (pytest.approx([396, 200]), "through 1 convolution, 4 added inside")
    mapped = to_frames(counts, 7921, 400, ways, added=False)
    assert mapped is None or "added" not in mapped[1]


class TestMapping:
    OTHER = WatchedLayer("front", nn.LayerNorm(8), "block", "student", "L01")

    def test_fractions_without_convolutions_in_proportion(self) -> None:
        valid = resolve((WAVEFORMS, LENGTHS / 1600), layer=self.OTHER)
        assert valid.frames.tolist() == [79, 45, 61, 2]
        assert "fractions, in proportion (to within a frame)" in valid.source

    @pytest.mark.parametrize("frames", [79, 160, 10])
    def test_samples_without_convolutions_in_proportion(self, frames: int) -> None:
        valid = resolve((WAVEFORMS, LENGTHS), layer=self.OTHER, frames=frames)
        assert valid.frames.tolist() == [-(-n * frames // 1600) for n in SAMPLES]

    def test_further_downsampling_behind_the_front_end(self) -> None:
        valid = resolve((WAVEFORMS, LENGTHS), frames=40)
        assert valid.frames.tolist() == [-(-n * 40 // 79) for n in FRAMES]
        assert "through 3 convolutions, then in proportion" in valid.source

    def test_frames_that_the_downsampling_contradicts_are_refused(self) -> None:
        with pytest.raises(AmbiguousLengths, match=r"60 frames.*doesn't fit.*'lengths'"):
            resolve({"wav": WAVEFORMS, "lengths": LENGTHS}, frames=60)

    def test_padding_and_dilation_in_the_formula(self) -> None:
        front_end = nn.Sequential(nn.Conv1d(1, 8, 5, 3, padding=2, dilation=2), nn.Conv1d(8, 8, 3, 2, padding=1))
        layer = WatchedLayer("front", front_end, "frontend", "student", "L00")
        frames = [front_end(torch.zeros(1, 1, n)).shape[2] for n in SAMPLES]
        assert resolve((WAVEFORMS, LENGTHS), layer=layer, frames=frames[0]).frames.tolist() == frames

    def test_two_dimensional_front_end(self) -> None:
        front_end = nn.Sequential(nn.Conv2d(1, 4, (3, 5), (1, 2)), nn.Conv2d(4, 4, (3, 3), (2, 2), (0, 1)))
        layer = WatchedLayer("front", front_end, "frontend", "student", "L00")
        features, lengths = torch.randn(4, 40, 90), torch.tensor([90, 50, 33, 8])
        frames = [front_end(torch.zeros(1, 1, 40, n)).shape[3] for n in lengths.tolist()]
        assert resolve((features, lengths), layer=layer, frames=frames[0]).frames.tolist() == frames

    @pytest.mark.parametrize("center", [True, False])
    @pytest.mark.parametrize("convolve", [True, False])
    def test_spectrogram_inside_the_model(self, center: bool, convolve: bool) -> None:
        transforms = pytest.importorskip("torchaudio.transforms")
        mel = transforms.MelSpectrogram(16000, n_fft=64, hop_length=20, n_mels=8, center=center)
        conv = nn.Conv1d(8, 8, 3, 2)
        layer = WatchedLayer("front", conv, "frontend", "student", "L00") if convolve else self.OTHER

        def frames(n: int) -> int:
            spectrum = mel(torch.zeros(1, n))
            return int((conv(spectrum) if convolve else spectrum).shape[2])

        waveforms, lengths = audio((1600, 905, 1239, 333))
        root = nn.ModuleDict({"mel": mel, "front": layer.module})
        valid = resolve((waveforms, lengths), layer=layer, frames=frames(1600), root=root)
        assert valid.frames.tolist() == [frames(n) for n in lengths.tolist()]
        assert "through a spectrogram" in valid.source

    def test_no_frames_at_all(self) -> None:
        short, lengths = audio((20, 12, 3, 0))
        hidden = torch.zeros(4, 0, 8)
        valid = resolve_lengths([Observed(LAYER, hidden)], args=(), kwargs={}, batch=(short, lengths))
        assert valid["front"].frames.tolist() == [0, 0, 0, 0]

    def test_empty_utterances_have_no_frames(self) -> None:
        padded = WatchedLayer("front", nn.Conv1d(1, 8, 3, 2, padding=2), "frontend", "student", "L00")
        lengths = torch.tensor([9, 4, 0, 0])
        assert resolve((torch.randn(4, 9), lengths), layer=padded, frames=6).frames.tolist() == [6, 3, 0, 0]
