"""Hugging Face's wav2vec 2.0, HuBERT, WavLM and Data2VecAudio in a LightningModule, given what scripts give."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from recipe import drawn, padded, pretrain
from speech_models import hugging_face
from torch import Tensor
from toys import pl

from rankwatch import RankWatch, RowSampling
from rankwatch.arguments.settings import WATCH

SAMPLES = [[1600, 900, 1234, 400], [1210, 777, 1111], [1500, 1499, 640, 400, 1203]]


def _frames(samples: int) -> int:
    return (((samples - 10) // 5 + 1 - 3) // 2 + 1 - 2) // 2 + 1


FRAMES = [_frames(n) for samples in SAMPLES for n in samples]


class Pretraining(pl.LightningModule):
    """A dict; the sample-level mask goes in, the frame-level mask is popped on the way; time masks are given."""

    def __init__(self, config: str, model: str, **changes: Any) -> None:
        super().__init__()
        self.model = hugging_face(config, model, layerdrop=0.1, **changes).train()

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        batch = dict(batch)
        batch.pop("sub_attention_mask", None)
        masks = torch.rand(len(batch["input_values"]), _frames(batch["input_values"].shape[1])) < 0.4
        out = self.model(**batch, mask_time_indices=masks)
        hidden = out.projected_states if hasattr(out, "projected_states") else out.last_hidden_state
        return hidden.square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), 1e-3)


def _mask(samples: list[int], seed: int) -> dict[str, Tensor]:
    waveforms, lengths = padded(samples, seed)
    frames = torch.tensor([_frames(n) for n in samples])
    return {
        "input_values": waveforms,
        "attention_mask": (torch.arange(waveforms.shape[1]) < lengths[:, None]).long(),
        "sub_attention_mask": (torch.arange(int(frames.max())) < frames[:, None]).long(),
    }


MODELS = [
    ("Wav2Vec2Config", "Wav2Vec2ForPreTraining"),
    ("Wav2Vec2Config", "Wav2Vec2Model"),
    ("HubertConfig", "HubertModel"),
    ("WavLMConfig", "WavLMModel"),
    ("Data2VecAudioConfig", "Data2VecAudioModel"),
]


def _batches(make: Callable[..., Any] = _mask) -> list[Any]:
    return [make(samples, seed) for seed, samples in enumerate(SAMPLES)]


@pytest.mark.parametrize(("config", "model"), MODELS)
def test_one_line(config: str, model: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make = partial(Pretraining, config, model)
    run = pretrain(make, _batches(), tmp_path, monkeypatch, accumulate_grad_batches=2)
    front, *blocks = run.layers
    assert front.endswith("feature_extractor")
    assert [name.rpartition(".")[2] for name in blocks] == ["0", "1", "2"]
    for layer in run.layers:
        assert run.frames(layer) == FRAMES
        assert "argument 'attention_mask' (mask, through 3 convolutions)" in run.source(layer)
        assert run.rows("frame")[layer] == {drawn(FRAMES)}
    assert {r.protocol.input for r in run.watch.readings if r.source != "train"} == {"clean"}
    assert "(B, C, T)" in run.table  # the front end's
    assert "(unmasked, eval mode)" in run.table


def test_a_mask_of_padding(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 where there is nothing to hear; the model isn't told, so only the batch says so."""

    class Untold(Pretraining):
        def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
            return self.model(batch["input_values"]).last_hidden_state.square().mean()

    def make(samples: list[int], seed: int) -> dict[str, Tensor]:
        batch = _mask(samples, seed)
        return {"input_values": batch["input_values"], "padding_mask": 1 - batch["attention_mask"]}

    run = pretrain(partial(Untold, *MODELS[2]), _batches(make), tmp_path, monkeypatch)
    assert run.frames(run.layers[-1]) == FRAMES
    assert "field 'padding_mask' of the batch" in run.source(run.layers[-1])


def test_without_a_mask_padding_is_seen_and_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(samples: list[int], seed: int) -> dict[str, Tensor]:
        return {"input_values": _mask(samples, seed)["input_values"]}

    run = pretrain(partial(Pretraining, *MODELS[2]), _batches(make), tmp_path, monkeypatch)
    assert not run.watch.readings
    (said,) = [one for one in run.said if "first_batches" in one]
    assert "no lengths were found" in said
    assert "end in zeros of different lengths" in said
    assert 'lengths="none"' in said


def test_all_of_equal_length_need_no_mask(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(samples: list[int], seed: int) -> dict[str, Tensor]:
        return {"input_values": _mask([samples[0]] * len(samples), seed)["input_values"]}

    run = pretrain(partial(Pretraining, *MODELS[2]), _batches(make), tmp_path, monkeypatch)
    assert run.frames(run.layers[-1]) == [_frames(s[0]) for s in SAMPLES for _ in s]
    assert run.source(run.layers[-1]) == "every frame (no lengths found)"


def test_blocks_alone_are_still_read_from_the_audio_on(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder that contains them is called with what the front end made: no call to be replayed later."""
    watch = RankWatch(layers=["*.encoder.layers.*"])
    run = pretrain(partial(Pretraining, *MODELS[2]), _batches(), tmp_path, monkeypatch, watch=watch)
    whole = pretrain(partial(Pretraining, *MODELS[2]), _batches(), tmp_path, monkeypatch)
    assert {r.protocol.input for r in watch.readings if r.source != "train"} == {"clean"}

    def of_blocks(run: Any) -> dict[tuple[int, str, str], float]:
        return {(r.step, r.level, r.layer): r.effective_rank for r in run.watch.readings if "layers" in r.layer}

    assert of_blocks(run) == of_blocks(whole)


def test_frames_under_the_mask_stand_apart_in_the_training_pass(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`mask_time_indices` is an argument: frames under it, which begin as one vector, don't count."""
    make = partial(Pretraining, *MODELS[0])
    read = {}
    for frames in ("unmasked", "masked", "all"):
        rows = RowSampling(frame_mask=frames, frames_per_utterance=1000)
        watch = RankWatch(watch=WATCH, eval_sets={}, rows=rows)
        run = pretrain(make, _batches(), tmp_path / frames, monkeypatch, watch=watch)
        last = [r for r in watch.readings if r.level == "frame" and r.layer.endswith("layers.0")][-1]
        assert last.protocol.frames == frames
        assert last.protocol.input == "masked"
        read[frames] = last.n
        assert run.watch.settings.rows.frame_mask == frames
    assert read["unmasked"] + read["masked"] == read["all"]
    assert 0.3 < read["masked"] / read["all"] < 0.5
