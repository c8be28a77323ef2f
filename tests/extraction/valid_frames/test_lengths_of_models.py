"""Valid frames of real models and of recipes' shapes: a padded batch against each utterance alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from lengths_of import resolve_lengths
from nemo_like import BANDS, ConformerEncoder
from speech_models import (
    HUGGING_FACE,
    SAMPLES,
    WIDTH,
    FairseqLike,
    Fires,
    SpeechBrainLike,
    audio,
    hugging_face,
    torchaudio_hubert,
    torchaudio_wav2vec2,
    torchaudio_wavlm,
)
from torch import Tensor, nn

from rankwatch.extraction.execution.model_families import unmasked_call
from rankwatch.extraction.model.layers import find_layers
from rankwatch.extraction.valid_frames.layer_outputs import to_btc, unpack
from rankwatch.extraction.valid_frames.observed_outputs import Observed
from rankwatch.extraction.valid_frames.valid_lengths import Valid

WAVEFORMS, LENGTHS = audio()


def observe(model: nn.Module, call: Any, batch_size: int = len(SAMPLES)) -> list[Observed]:
    layers = find_layers(model)
    with Fires(layers) as fires, torch.no_grad():
        call()
    observed = []
    for layer in layers:
        hidden, own = unpack(fires.outputs[layer.name])
        observed.append(Observed(layer, to_btc(hidden, batch_size=batch_size, layer=layer)[0], own))
    return observed


def alone(model: nn.Module, run: Any, waveforms: Tensor, lengths: Tensor) -> list[int]:
    """Frames of the last block when each utterance is run by itself; 0 where the model refuses."""
    frames = []
    for waveform, length in zip(waveforms, lengths.tolist(), strict=True):
        try:
            observed = observe(model, partial(run, waveform[None, :length]), batch_size=1)
            frames.append(observed[-1].hidden.shape[1])
        except RuntimeError:
            frames.append(0)
    return frames


class TestRealModels:
    """A padded batch gives the frames that each utterance has when it is run alone."""

    def check(self, model: nn.Module, call: Any, run: Any, source: str, **seen: Any) -> dict[str, Valid]:
        valid = resolve_lengths(observe(model, call), **{"args": (), "kwargs": {}, "batch": None, **seen}, root=model)
        expected = alone(model, run, WAVEFORMS, LENGTHS)
        assert expected[0] == 79
        assert expected[-1] < 3
        for entry in valid.values():
            assert entry.frames.tolist() == expected
            assert entry.frames.dtype == torch.int64
            assert source in entry.source
        return valid

    def test_torchaudio_front_end_says_itself(self) -> None:
        model = torchaudio_wav2vec2()
        self.check(model, lambda: model(WAVEFORMS, LENGTHS), lambda x: model(x), "lengths given by feature_extractor")

    def test_torchaudio_hubert_tuple_batch(self) -> None:
        model = torchaudio_hubert()
        adapter = unmasked_call(model, model)
        assert adapter is not None
        labels = torch.zeros(len(SAMPLES), 79, dtype=torch.int64)
        call = lambda: model(WAVEFORMS, labels, LENGTHS)  # noqa: E731
        batch = (WAVEFORMS, labels, LENGTHS)
        self.check(model, call, lambda x: adapter.run(x, None), "given by wav2vec2.feature_ex", batch=batch)

    def test_torchaudio_wavlm_is_given_none(self) -> None:
        model = torchaudio_wavlm()
        batch = {"audio": WAVEFORMS, "audio_len": LENGTHS, "speaker_id": torch.tensor([79, 3, 1, 0])}
        words = "field 'audio_len' of the batch (samples, through 3 convolutions)"
        self.check(model, lambda: model(WAVEFORMS), lambda x: model(x), words, args=(WAVEFORMS,), batch=batch)

    @pytest.mark.parametrize(("config", "name"), HUGGING_FACE)
    def test_hugging_face_attention_mask(self, config: str, name: str) -> None:
        model = hugging_face(config, name)
        mask = (torch.arange(1600) < LENGTHS[:, None]).long()
        kwargs = {"input_values": WAVEFORMS, "attention_mask": mask}
        words = "argument 'attention_mask' (mask, through 3 convolutions)"
        base = model.base_model
        self.check(
            model, lambda: base(**kwargs), lambda x: base(x), words, kwargs={**kwargs, "mask_time_indices": None}
        )

    def test_hugging_face_formula_where_the_front_end_is_not_watched(self) -> None:
        model = hugging_face("HubertConfig", "HubertModel")
        mask = (torch.arange(1600) < LENGTHS[:, None]).long()
        observed = observe(model, lambda: model(WAVEFORMS, attention_mask=mask))[1:]
        valid = resolve_lengths(
            observed, args=(WAVEFORMS, mask), kwargs={}, batch=None, root=model, forward=model.forward
        )
        assert next(iter(valid.values())).frames.tolist() == alone(model, model, WAVEFORMS, LENGTHS)
        assert "argument 'attention_mask'" in next(iter(valid.values())).source

    @pytest.mark.parametrize("padding", [True, False])
    def test_fairseq_like_padding_mask_of_either_polarity(self, padding: bool) -> None:
        model = FairseqLike()
        mask = (torch.arange(1600) >= LENGTHS[:, None]) == padding
        kwargs = {"source": WAVEFORMS, "padding_mask": mask}
        valid = resolve_lengths(observe(model, lambda: model(**kwargs)), args=(), kwargs=kwargs, batch=None, root=model)
        expected = alone(model, lambda x: model(source=x), WAVEFORMS, LENGTHS)
        assert [entry.frames.tolist() for entry in valid.values()] == [expected] * 3
        assert "mask, through 2 convolutions" in valid["blocks.0"].source

    def test_targets_trim_behind_the_convolutions(self) -> None:
        model = FairseqLike()
        kwargs = {"source": WAVEFORMS}
        observed = observe(model, lambda: model(**kwargs, trim=1))
        valid = resolve_lengths(observed, args=(), kwargs=kwargs, batch={"net_input": {"lengths": LENGTHS}}, root=model)
        whole, trimmed = valid["feature_extractor"].frames, valid["blocks.1"].frames
        assert trimmed.tolist() == whole.clamp(max=int(whole.max()) - 1).tolist()
        assert "1 cut off" in valid["blocks.1"].source

    def test_conformer_over_features(self) -> None:
        models = pytest.importorskip("torchaudio.models")
        model = models.Conformer(WIDTH, 2, 32, 2, 5).eval()
        x, lengths = torch.randn(3, 20, WIDTH), torch.tensor([20, 7, 13])
        observed = observe(model, lambda: model(x, lengths), batch_size=3)
        valid = resolve_lengths(observed, args=(x, lengths), kwargs={}, batch=None, root=model, forward=model.forward)
        assert [entry.frames.tolist() for entry in valid.values()] == [[20, 7, 13]] * 2
        assert valid["conformer_layers.0"].source == "argument 'lengths' (frames)"


class TestRecipes:
    """Stand-ins for recipes' shapes and calling habits."""

    LENGTHS = torch.tensor([90, 41, 66, 7])

    def test_pre_encode_gives_the_lengths(self) -> None:
        model = ConformerEncoder().eval()
        call = {"audio_signal": torch.randn(4, BANDS, 90), "length": self.LENGTHS}
        observed = observe(model, lambda: model(**call))
        assert [one.layer.name for one in observed] == ["pre_encode", "layers.0", "layers.1", "layers.2"]
        valid = resolve_lengths(observed, args=(), kwargs=call, batch=None, root=model)
        for entry in valid.values():
            assert entry.frames.tolist() == [23, 11, 17, 2]
            assert entry.source == "lengths given by pre_encode"
        alone = resolve_lengths(observed[1:], args=(), kwargs=call, batch=None, root=model)
        for entry in alone.values():
            assert entry.frames.tolist() == [23, 11, 17, 2]
            assert "argument 'length' (input frames, through 2 convolutions)" in entry.source

    @pytest.mark.parametrize("fractions", [True, False])
    def test_fractions_and_mask_indices(self, fractions: bool) -> None:
        model = SpeechBrainLike()
        features = torch.randn(4, 90, 20)
        with Fires(find_layers(model)) as fires, torch.no_grad():
            frames = model(features).shape[1]
        front, *blocks = find_layers(model)
        assert [front.name, *(b.name for b in blocks)] == ["modules_.CNN", "modules_.layers.0", "modules_.layers.1"]
        hidden, layout = to_btc(unpack(fires.outputs[front.name])[0], batch_size=4, layer=front, frames=[frames])
        assert layout == "(B, T, F, C)"
        observed = [Observed(front, hidden)]
        observed += [Observed(b, unpack(fires.outputs[b.name])[0]) for b in blocks]
        batch = (features, self.LENGTHS / 90 if fractions else self.LENGTHS, torch.tensor([2, 3, 11, 21]))
        valid = resolve_lengths(observed, args=(features,), kwargs={}, batch=batch, root=model)
        for entry in valid.values():
            assert entry.frames.tolist() == [23, 11, 17, 2]
            assert "in proportion (to within a frame)" in entry.source
