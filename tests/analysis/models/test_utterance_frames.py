"""Frames of single utterances: packages' models, fixed windows cut to the audio, times of frames, costs."""

import pytest
import torch
from speech_models import hugging_face
from torch import nn

from rankwatch.analysis.models.depth_cost import counted_parameters, depth_costs
from rankwatch.analysis.models.feature_inputs import default_extractor, feature_input, needs_features
from rankwatch.analysis.models.frame_times import FrameTimes, frame_times
from rankwatch.analysis.models.utterance_frames import UtteranceFrames
from rankwatch.analysis.rows.utterance_rows import CELL
from rankwatch.extraction.model.layers import find_layers

transformers = pytest.importorskip("transformers")


def reader(model, **options):
    model.eval()
    return UtteranceFrames(model, find_layers(model), **options)


@torch.no_grad()
def test_convolutions_without_padding_have_their_own_step_and_first_centre():
    """Kernels 10, 3, 2 with strides 5, 2, 2: 20 samples a step, a receptive field of 10 + 5 * 2 + 10 * 1 = 30."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.front = nn.Sequential(nn.Conv1d(1, 8, 10, 5), nn.Conv1d(8, 8, 3, 2), nn.Conv1d(8, 8, 2, 2))
            block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)

        def forward(self, x):
            return self.blocks(self.front(x[:, None])[..., ::8].transpose(1, 2))

    times, failures = frame_times(reader(Model(), sample_rate=1000))
    assert not failures
    front = next(time for name, time in times.items() if name.startswith("front"))
    assert front.step == pytest.approx(0.020)
    assert front.first == pytest.approx(0.015)
    assert times["blocks.layers.1"].step == pytest.approx(0.160)  # every eighth frame


@torch.no_grad()
@pytest.mark.parametrize("layers", ["auto", ["blocks.*"]])
def test_a_frame_that_the_model_adds_inside_of_itself_is_left_out(layers):
    """Fairseq fills an odd number of frames up to an even one."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.front = nn.Sequential(nn.Conv1d(1, 8, 10, 5), nn.Conv1d(8, 8, 8, 4))
            self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(2))

        def forward(self, x):
            x = self.front(x[:, None]).transpose(1, 2)
            x = nn.functional.pad(x, (0, 0, 0, x.shape[1] % 2))
            for block in self.blocks:
                x = block(x)
            return x

    model = Model().eval()
    read = UtteranceFrames(model, find_layers(model, layers))
    for samples, frames in ((1610, 79), (1600, 78)):
        assert {len(rows) for rows in read(torch.randn(samples)).frames.values()} == {frames}


def test_the_nearest_frame_is_taken_and_none_beyond_the_ends():
    times = FrameTimes(step=0.02, first=0.0125)
    assert [times.at(s, 10) for s in (0.0, 0.0125, 0.0224, 0.0326, 0.19, 5.0)] == [0, 0, 0, 1, 9, 9]


def test_of_two_frames_that_are_as_near_the_earlier_one_is_taken_everywhere():
    """Drawn times are the middles of cells of 20 ms: all of them lie between two of Whisper's frames."""
    times = FrameTimes(step=0.02, first=0.0)
    assert [times.at((cell + 0.5) * CELL, 1500) for cell in range(750)] == list(range(750))
    almost = FrameTimes(step=0.02, first=1e-12)
    assert [almost.at((cell + 0.5) * CELL, 1500) for cell in range(750)] == list(range(750))


@torch.no_grad()
def test_a_window_of_thirty_seconds_is_cut_to_the_audio():
    config = transformers.WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, decoder_layers=1,
        decoder_attention_heads=2, decoder_ffn_dim=32, vocab_size=50, num_mel_bins=40,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    model = transformers.WhisperModel(config)
    assert needs_features(model)
    features = feature_input(default_extractor(model), 16_000)
    assert features.window == 30.0
    read = UtteranceFrames(model.eval(), find_layers(model, ["encoder.layers.*"]), features=features)
    found = read(torch.randn(16_000 + 100, generator=torch.Generator().manual_seed(0)))
    assert {name: tuple(rows.shape) for name, rows in found.frames.items()} == {
        "encoder.layers.0": (51, 16),
        "encoder.layers.1": (51, 16),
    }
    assert read.call == "WhisperEncoder on WhisperFeatureExtractor's output"
    times, _ = frame_times(read)
    assert times["encoder.layers.0"].step == pytest.approx(0.02)


@torch.no_grad()
def test_patches_of_one_time_are_columns_of_one_frame():
    config = transformers.ASTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, max_length=128,
        num_mel_bins=32,
    )  # fmt: skip
    model = transformers.ASTModel(config)
    extractor = transformers.ASTFeatureExtractor(max_length=128, num_mel_bins=32)
    read = reader(model, features=feature_input(extractor, 16_000))
    assert read.window == pytest.approx(1.28)
    found = read(torch.randn(16_000, generator=torch.Generator().manual_seed(0)))
    bands, frames = (32 - 16) // 10 + 1, (128 - 16) // 10 + 1
    shapes = {name: tuple(rows.shape) for name, rows in found.frames.items() if "layer" in name}
    assert shapes
    assert set(shapes.values()) == {(-(-frames * 100 // 128), 16 * bands)}


@torch.no_grad()
def test_company_and_silence_of_others_change_nothing():
    """A batch of one has no padding, so frames are those of the model itself on the audio alone."""
    model = hugging_face("Wav2Vec2Config", "Wav2Vec2Model")
    waveform = torch.randn(9_000, generator=torch.Generator().manual_seed(1))
    read = reader(model)
    found = read(waveform)
    hidden = model(waveform[None], output_hidden_states=True).hidden_states
    last = next(name for name in found.frames if name.endswith("layers.1"))
    assert torch.equal(found.frames[last], hidden[2][0])


@torch.no_grad()
def test_costs_grow_with_depth_and_end_at_the_whole():
    model = hugging_face("HubertConfig", "HubertModel")
    layers = find_layers(model)
    read = UtteranceFrames(model, layers)
    with counted_parameters(model, layers) as parameters:
        seconds = [read(torch.randn(8_000, generator=torch.Generator().manual_seed(k))).seconds for k in range(3)]
    costs = [depth_costs(parameters, seconds)[layer.name] for layer in layers]
    assert [one.parameters for one in costs] == sorted(one.parameters for one in costs)
    assert [one.time_share for one in costs] == sorted(one.time_share for one in costs)
    used = sum(p.numel() for name, p in model.named_parameters() if "masked_spec_embed" not in name)
    assert costs[-1].parameters == used
