"""Lengths in forms that are neither counts nor masks over frames: attention masks, lists of waveforms, added frames."""

from dataclasses import replace

import pytest
import torch
from lengths_of import resolve_lengths
from torch import nn

from rankwatch.extraction.inputs.utterance_keys import fingerprint, utterance_keys
from rankwatch.extraction.model.layers import find_layers
from rankwatch.extraction.valid_frames.downsampling import chains, to_frames
from rankwatch.extraction.valid_frames.layer_outputs import LayoutError, to_btc, unpack
from rankwatch.extraction.valid_frames.length_candidates import as_candidate, input_candidates
from rankwatch.extraction.valid_frames.observed_outputs import Observed

LENGTHS = torch.tensor([9, 4, 7])
VALID = torch.arange(9) < LENGTHS[:, None]


def causal(valid):
    return valid[:, None, None] & torch.ones(9, 9).tril().bool()


def folded(mask, heads=4):
    return mask.expand(3, heads, 9, 9).flatten(0, 1)


@pytest.mark.parametrize(
    "mask",
    [
        VALID[:, None, None],
        VALID[:, None],
        VALID[:, None, None].expand(3, 2, 9, 9),
        causal(VALID),
        VALID[:, None, None].long(),
        torch.zeros(3, 1, 1, 9).masked_fill(~VALID[:, None, None], -torch.inf),
        torch.zeros(3, 1, 9, 9).masked_fill(~causal(VALID), torch.finfo(torch.float16).min),
        torch.zeros(3, 9).masked_fill(~VALID, -torch.inf),
        # As torch.nn.MultiheadAttention takes them: the heads of an utterance behind one another, True = hidden.
        folded(~VALID[:, None, None].expand(3, 1, 9, 9)),
        folded(~causal(VALID)),
        folded(causal(VALID)),
        folded(torch.zeros(3, 1, 9, 9).masked_fill(~causal(VALID), -torch.inf)),
        ~causal(VALID),
    ],
)
@pytest.mark.parametrize("path", ["attention_mask", "src_key_padding_mask"])
def test_attention_masks_say_lengths(mask, path):
    candidate = as_candidate(mask, 3, "argument", path)
    assert candidate is not None
    assert candidate.problem == ""
    assert candidate.values.tolist() == LENGTHS.tolist()
    assert candidate.axis == 9


@pytest.mark.parametrize(
    "other", [torch.randn(3, 1, 9), torch.randn(3, 1, 9, 9), torch.zeros(3, 1, 1, 9), torch.rand(3, 1, 9, 9) > 0.5]
)
def test_features_and_images_say_none(other):
    candidate = as_candidate(other, 3, "argument", "x")
    assert candidate is None or candidate.values.tolist() == [9, 9, 9]


def test_torchs_own_encoder_in_its_fast_path():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2).eval()
    with torch.no_grad():
        hidden = encoder(torch.randn(3, 9, 16), src_key_padding_mask=~VALID)
    observed = [Observed(find_layers(encoder)[0], hidden)]
    call = {"src_key_padding_mask": ~VALID, "src": torch.randn(3, 9, 16)}
    (valid,) = resolve_lengths(observed, args=(), kwargs=call, batch=None).values()
    assert valid.frames.tolist() == LENGTHS.tolist()


class TestListsOfWaveforms:
    WAVES = tuple(torch.randn(n) for n in (800, 500, 700))

    def test_their_sizes_are_the_lengths(self):
        (candidate,) = input_candidates((list(self.WAVES),), {}, None)
        assert candidate.values.tolist() == [800, 500, 700]
        front = nn.Conv1d(1, 4, 10, 5)
        layer = replace(find_layers(nn.Sequential(front), ["0"])[0], kind="frontend")
        hidden = torch.randn(3, 159, 4)
        (valid,) = resolve_lengths(
            [Observed(layer, hidden)], args=([*self.WAVES],), kwargs={}, batch=None, root=nn.Sequential(front)
        ).values()
        assert valid.frames.tolist() == [159, 99, 139]

    def test_each_has_the_key_of_its_own_samples(self):
        keys = utterance_keys(((list(self.WAVES),), {}), None)
        assert keys.tolist() == [int(fingerprint(wave[None])) for wave in self.WAVES]


class TestFramesAddedInside:
    """fairseq pads the frames to a multiple of two inside of its encoder."""

    STRIDES = ((10, 5), *[(3, 2)] * 4, *[(2, 2)] * 2)
    FRONT = nn.Sequential(*(nn.Conv1d(1 if i == 0 else 4, 4, k, s) for i, (k, s) in enumerate(STRIDES)))

    @pytest.mark.parametrize("samples", [50000, 49680, 41234])
    def test_lengths_are_those_of_the_convolutions(self, samples):
        counts = torch.tensor([samples, 41000, 30000, 22000]).clamp(max=samples)
        exact = counts
        for kernel, stride in self.STRIDES:
            exact = (exact - kernel) // stride + 1
        ways = list(chains(self.FRONT, [self.FRONT]))
        for frames in (int(exact[0]), int(exact[0]) + 1):
            found = to_frames(counts, samples, frames, ways)
            assert found is not None
            assert found[0].tolist() == exact.tolist()

    @pytest.mark.parametrize("watched", [True, False])
    @pytest.mark.parametrize("known", ["nothing", "none", "counts", "mask", "mask named", "mask of samples"])
    def test_they_are_never_valid(self, watched, known):
        """Whether the front end is watched or not, and whatever says the lengths; 8000 samples are 24 frames or 25."""
        for samples, frames in ((8000, 24), (8320, 25)):
            lengths = torch.tensor([frames, 20, 7] if known not in ("nothing", "none") else [frames] * 3)
            fields = {
                "counts": {"lengths": lengths},
                "mask": {"attention_mask": torch.arange(frames) < lengths[:, None]},
                "mask of samples": {"padding_mask": torch.arange(samples) >= torch.tensor([[samples], [6730], [2400]])},
            }
            batch = {"audio": torch.randn(3, samples), **fields.get(known.removesuffix(" named"), {})}
            model = nn.ModuleDict({"front": self.FRONT, "blocks": nn.ModuleList([nn.TransformerEncoderLayer(4, 2, 8)])})
            front = replace(find_layers(model, ["front"])[0], kind="frontend")
            block = find_layers(model, ["blocks.0"])[0]
            observed = [Observed(block, torch.randn(3, frames + frames % 2, 4))]
            if watched:
                observed.append(Observed(front, torch.randn(3, frames, 4)))
            spec = {"none": "none", "mask named": "attention_mask"}.get(known, "auto")
            made = () if watched else (frames,)
            valid = resolve_lengths(observed, args=(), kwargs={}, batch=batch, spec=spec, root=model, unwatched=made)
            assert valid["blocks.0"].frames.tolist() == lengths.tolist()
            assert valid["blocks.0"].added == frames % 2

    def test_convolutions_that_are_padded_from_outside_give_more_than_they_would_alone(self):
        """They give 26 frames, which their sizes don't say, and so none of the blocks' 26 was added."""
        model = nn.ModuleDict({"front": self.FRONT, "blocks": nn.ModuleList([nn.TransformerEncoderLayer(4, 2, 8)])})
        observed = [Observed(find_layers(model, ["blocks.0"])[0], torch.randn(3, 26, 4))]
        batch = {"audio": torch.randn(3, 8320)}  # 25 frames without padding
        (valid,) = resolve_lengths(observed, args=(), kwargs={}, batch=batch, root=model, unwatched=(26,)).values()
        assert (valid.frames.tolist(), valid.added) == ([26] * 3, 0)


class TestRecurrentLayers:
    @pytest.mark.parametrize("batch_first", [True, False])
    @pytest.mark.parametrize("projected", [0, 5])
    @pytest.mark.parametrize("bidirectional", [True, False])
    def test_they_say_their_layout_themselves(self, batch_first, projected, bidirectional):
        net = nn.LSTM(6, 7, 2, batch_first=batch_first, proj_size=projected, bidirectional=bidirectional)
        model = nn.ModuleDict({"front": nn.Conv1d(1, 6, 4, 2), "context": net})
        layers = {layer.name: layer for layer in find_layers(model)}
        assert layers["context"].kind == "block"
        x = torch.randn(3, 7, 6)
        with torch.no_grad():
            hidden, lengths = unpack(net(x if batch_first else x.transpose(0, 1)))
        btc, _ = to_btc(hidden, batch_size=3, layer=layers["context"])
        assert lengths is None
        assert btc.shape == (3, 7, (projected or 7) * (2 if bidirectional else 1))

    def test_packed_sequences_bring_their_lengths(self):
        net = nn.GRU(6, 7, batch_first=True)
        packed = nn.utils.rnn.pack_padded_sequence(torch.randn(3, 9, 6), LENGTHS, True, enforce_sorted=False)
        hidden, lengths = unpack(net(packed))
        assert hidden.shape == (3, 9, 7)
        assert lengths.tolist() == LENGTHS.tolist()


class TestSaidLayouts:
    LAYER = find_layers(nn.Sequential(nn.Conv2d(1, 8, 3, 2)), ["0"])[0]

    def test_what_is_said_is_done(self):
        hidden = torch.randn(2, 8, 5, 5)
        btc, layout = to_btc(hidden, batch_size=2, layer=self.LAYER, said="(B, C, T, F)")
        assert layout == "(B, C, T, F)"
        assert torch.equal(btc, hidden.transpose(1, 2).flatten(2))

    def test_what_cannot_be_is_refused(self):
        with pytest.raises(LayoutError, match=r"can't be \(T, B, C\), as RowSampling\(layouts=...\) says"):
            to_btc(torch.randn(2, 8, 5), batch_size=2, layer=self.LAYER, said="(T, B, C)")

    def test_a_message_says_how_to_say_it(self):
        with pytest.raises(LayoutError, match=r"RowSampling\(layouts=\{'0': '\(B, C, F, T\)'\}\)"):
            to_btc(torch.randn(2, 8, 5, 6), batch_size=2, layer=self.LAYER)
