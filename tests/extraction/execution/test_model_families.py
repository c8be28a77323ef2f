"""Clean forward passes of known families, and other audio in a captured call."""

from __future__ import annotations

import inspect

import pytest
import torch
from speech_models import (
    HUGGING_FACE,
    FairseqLike,
    Fires,
    audio,
    hugging_face,
    torchaudio_hubert,
    torchaudio_wav2vec2,
    torchaudio_wavlm,
)
from torch import Tensor, nn

from rankwatch.extraction.execution.model_families import unmasked_call
from rankwatch.extraction.model.layers import find_layers
from rankwatch.extraction.valid_frames.layer_outputs import unpack

WAVEFORMS, LENGTHS = audio((1600, 900, 1234))


def hidden_states(root: nn.Module, call: object) -> list[Tensor]:
    with Fires(find_layers(root)) as fires, torch.no_grad():
        call()  # type: ignore[operator]
    return [unpack(output)[0] for output in fires.outputs.values()]


class TestTorchaudio:
    def test_run_is_the_models_own_forward_pass(self) -> None:
        model = torchaudio_wav2vec2()
        adapter = unmasked_call(model, model)
        assert adapter is not None
        assert adapter.module is model
        ours = hidden_states(model, lambda: adapter.run(WAVEFORMS, LENGTHS))
        theirs = hidden_states(model, lambda: model(WAVEFORMS, LENGTHS))
        assert len(ours) == 4
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))

    def test_hubert_masks_in_eval_mode_and_the_transformed_call_does_not(self) -> None:
        model = torchaudio_hubert()
        root = nn.ModuleDict({"model": model, "teacher": torchaudio_wav2vec2()})
        adapter = unmasked_call(model, root)
        assert adapter is not None
        assert adapter.module is model.wav2vec2
        labels = torch.zeros(3, 79, dtype=torch.int64)
        args, kwargs = (WAVEFORMS, labels), {"audio_lengths": LENGTHS}
        clean = adapter.transform(args, kwargs, None)
        assert clean is not None
        expected = hidden_states(root, lambda: adapter.run(WAVEFORMS, LENGTHS))
        replayed = hidden_states(root, lambda: model(*args, **kwargs))
        transformed = hidden_states(root, clean)
        assert all(torch.equal(a, b) for a, b in zip(transformed, expected, strict=True))
        assert torch.equal(replayed[0], expected[0])
        assert not torch.equal(replayed[1], expected[1])

    def test_wavlm_takes_no_lengths(self) -> None:
        """The WavLM of torchaudio asserts that there is no attention mask."""
        model = torchaudio_wavlm()
        adapter = unmasked_call(model, model)
        assert adapter is not None
        ours = hidden_states(model, lambda: adapter.run(WAVEFORMS, LENGTHS))
        theirs = hidden_states(model, lambda: model(WAVEFORMS))
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))

    def test_without_lengths(self) -> None:
        model = torchaudio_wav2vec2()
        adapter = unmasked_call(model, model)
        assert adapter is not None
        assert len(hidden_states(model, lambda: adapter.run(WAVEFORMS, None))) == 4


class TestHuggingFace:
    @pytest.mark.parametrize(("config", "name"), HUGGING_FACE)
    def test_transform_drops_the_time_mask(self, config: str, name: str) -> None:
        model = hugging_face(config, name, mask_time_prob=0.5)
        adapter = unmasked_call(model, model)
        assert adapter is not None
        mask = (torch.arange(1600) < LENGTHS[:, None]).long()
        clean = adapter.transform((WAVEFORMS,), {"attention_mask": mask}, None)
        assert clean is not None
        plain = hidden_states(model, lambda: model.base_model(WAVEFORMS, attention_mask=mask))
        assert len(plain) == 4
        for call in (clean, lambda: adapter.run(WAVEFORMS, LENGTHS)):
            assert all(torch.equal(a, b) for a, b in zip(hidden_states(model, call), plain, strict=True))
        if "mask_time_indices" in inspect.signature(model.forward).parameters:
            masked = {"attention_mask": mask, "mask_time_indices": torch.rand(3, 79) < 0.5}
            again = adapter.transform((WAVEFORMS,), masked, None)
            assert again is not None
            assert all(torch.equal(a, b) for a, b in zip(hidden_states(model, again), plain, strict=True))
            replayed = hidden_states(model, lambda: model(WAVEFORMS, **masked))
            assert not torch.equal(replayed[1], plain[1])

    def test_very_short_utterances(self) -> None:
        """Shorter than the first kernel, and empty: no crash, and every frame of the long one is finite."""
        model = hugging_face("HubertConfig", "HubertModel")
        adapter = unmasked_call(model, model)
        assert adapter is not None
        waveforms, lengths = audio((1600, 5, 0))
        states = hidden_states(model, lambda: adapter.run(waveforms, lengths))
        assert all(bool(state[0].isfinite().all()) for state in states)

    def test_student_of_a_pair_is_run(self) -> None:
        student, teacher = (hugging_face("HubertConfig", "HubertModel") for _ in range(2))
        root = nn.ModuleDict({"ema_teacher": teacher, "student": student})
        adapter = unmasked_call(root, root)
        assert adapter is not None
        assert adapter.module is student
        assert adapter.transform((WAVEFORMS,), {}, None) is None


def test_unknown_families_and_undecidable_pairs_have_no_adapter() -> None:
    assert unmasked_call(FairseqLike(), FairseqLike()) is None
    pair = nn.ModuleList([torchaudio_wav2vec2(), torchaudio_wav2vec2()])
    assert unmasked_call(pair, pair) is None
    inner = unmasked_call(pair[1], pair)
    assert inner is not None
    assert inner.module is pair[1]
    assert inner.name == "torchaudio's Wav2Vec2Model"


def test_a_frozen_model_beside_the_encoder_is_not_run() -> None:
    """It makes the targets; the watched layers are elsewhere."""
    targets = hugging_face("HubertConfig", "HubertModel").requires_grad_(False)
    encoder = FairseqLike()
    root = nn.ModuleDict({"targets": targets, "encoder": encoder})
    assert unmasked_call(encoder, root) is None
    assert unmasked_call(root, root) is None
    part = unmasked_call(targets.encoder, root)
    assert part is not None
    assert part.module is targets
