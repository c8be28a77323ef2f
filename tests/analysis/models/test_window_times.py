"""Times of frames in windows of one length, against what kernels, strides and padding say by hand."""

import dataclasses

import pytest
import torch
from torch import nn

from rankwatch.analysis.models.feature_inputs import default_extractor, feature_input
from rankwatch.analysis.models.frame_times import frame_times
from rankwatch.analysis.models.utterance_frames import UtteranceFrames
from rankwatch.extraction.model.layers import find_layers

transformers = pytest.importorskip("transformers")


def whisper():
    sizes = {f"{side}_{name}": 2 for side in ("encoder", "decoder") for name in ("layers", "attention_heads")}
    return transformers.WhisperModel(
        transformers.WhisperConfig(
            d_model=16, encoder_ffn_dim=32, decoder_ffn_dim=32, vocab_size=50, num_mel_bins=40, **sizes,
            pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        )
    )  # fmt: skip


@torch.no_grad()
def times_of(model, extractor, layers="auto"):
    features = feature_input(extractor, 16_000)
    return frame_times(UtteranceFrames(model.eval(), find_layers(model, layers), features=features))


@pytest.mark.parametrize("layers", ["auto", ["encoder.layers.*"]])
def test_whispers_first_frame_is_centred_at_the_beginning(layers):
    """Spectra at 160 i samples; kernel 3, padding 1: centred at i; with stride 2 at 2 j, which is 20 ms j."""
    model = whisper()
    times, notes = times_of(model, default_extractor(model), layers)
    assert set(times) == {"encoder.layers.0", "encoder.layers.1"} | ({"encoder.conv2"} if layers == "auto" else set())
    assert not notes
    for found in times.values():
        assert found.step == pytest.approx(0.020, abs=1e-9)
        assert found.first == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("frames", [1024, 128])
def test_patches_are_centred_between_their_eighth_and_ninth_spectrum(frames):
    """Windows of 25 ms from the beginning on: at 12.5 ms + 10 ms i; patches of 16, 10 apart: at i = 10 j + 7.5.

    Divided evenly, 10.24 s over 101 frames, the last one would be 102 ms late.
    """
    sizes = {"max_length": frames, "num_mel_bins": 32}
    config = transformers.ASTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, **sizes
    )  # fmt: skip
    times, notes = times_of(transformers.ASTModel(config), transformers.ASTFeatureExtractor(**sizes))
    assert not notes
    assert set(times) == {"embeddings", "layers.0"}
    for found in times.values():
        assert found.step == pytest.approx(0.100, abs=1e-9)
        assert found.first == pytest.approx(0.0125 + 0.075, abs=1e-4)


class Mels(nn.Module):
    """Convolutions without padding over 40 bands, blocks on their frames, and blocks on means of seven of them."""

    def __init__(self):
        super().__init__()
        self.front = nn.Sequential(nn.Conv1d(40, 16, 5, 4), nn.GELU())
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(16, 2, 16, batch_first=True) for _ in range(2))
        self.later = nn.ModuleList(nn.TransformerEncoderLayer(16, 2, 16, batch_first=True) for _ in range(2))

    def forward(self, input_features):
        hidden = self.front(input_features).transpose(1, 2)
        for block in self.blocks:
            hidden = block(hidden)
        hidden = hidden.unflatten(1, (107, 7)).mean(dim=2)
        for block in self.later:
            hidden = block(hidden)
        return hidden


LAYERS = ["front", "blocks.*", "later.*"]


def test_layers_that_pool_frames_have_the_middle_of_those_that_they_pool():
    """Kernel 5, stride 4: at feature 4 j + 2, so 20 ms + 40 ms j; seven of these: at 140 ms + 280 ms j."""
    times, notes = times_of(Mels(), transformers.WhisperFeatureExtractor(feature_size=40), LAYERS)
    assert not notes
    expected = {"front": (0.04, 0.02), "blocks.1": (0.04, 0.02), "later.0": (0.28, 0.14), "later.1": (0.28, 0.14)}
    for name, (step, first) in expected.items():
        assert (times[name].step, times[name].first) == pytest.approx((step, first), abs=1e-4)


def test_what_can_not_be_found_is_said_and_the_window_divided_evenly():
    """Features that don't hang on when anything is: their frames are means over the whole window."""
    features = feature_input(transformers.WhisperFeatureExtractor(feature_size=40), 16_000)

    def everywhere(waveform):
        return {
            name: value.mean(dim=2, keepdim=True).expand_as(value) for name, value in features.run(waveform).items()
        }

    model = Mels().eval()
    read = UtteranceFrames(model, find_layers(model, LAYERS), features=dataclasses.replace(features, run=everywhere))
    with torch.no_grad():
        times, notes = frame_times(read)
    assert times["blocks.0"].step == pytest.approx(30.0 / 749)
    assert times["blocks.0"].first == pytest.approx(15.0 / 749)
    assert "'blocks.0': when its frames are could not be found" in notes["blocks.0"]
