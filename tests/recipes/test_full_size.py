"""HuBERT-base and wav2vec2-base at their real sizes, without weights: padded batches read as single utterances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from recipe import padded
from torch import Tensor, nn

from rankwatch import RowSampling, Watch
from rankwatch.readings.reading import Reading

RAGGED = [9600, 6400, 8000, 4000, 7201, 5123]
EQUAL = [6400] * 6


def _hugging_face(config: str, model: str) -> Callable[[str], nn.Module]:
    def make(norm: str) -> nn.Module:
        import transformers

        settings = getattr(transformers, config)(feat_extract_norm=norm, do_stable_layer_norm=norm == "layer")
        built: nn.Module = getattr(transformers, model)(settings)
        return built

    return make


def _torchaudio(norm: str) -> nn.Module:
    from torchaudio.models import wav2vec2_model

    base = {
        "extractor_mode": f"{norm}_norm",
        "extractor_conv_layer_config": None,
        "extractor_conv_bias": False,
        "encoder_embed_dim": 768,
        "encoder_projection_dropout": 0.1,
        "encoder_pos_conv_kernel": 128,
        "encoder_pos_conv_groups": 16,
        "encoder_num_layers": 12,
        "encoder_num_heads": 12,
        "encoder_attention_dropout": 0.1,
        "encoder_ff_interm_features": 3072,
        "encoder_ff_interm_dropout": 0.0,
        "encoder_dropout": 0.1,
        "encoder_layer_norm_first": False,
        "encoder_layer_drop": 0.05,
        "aux_num_out": None,
    }
    model: nn.Module = wav2vec2_model(**base)
    return model


def _call(model: nn.Module, waveforms: Tensor, lengths: Tensor) -> Any:
    if type(model).__module__.startswith("torchaudio"):
        return model(waveforms, lengths)
    return model(waveforms, attention_mask=(torch.arange(waveforms.shape[1]) < lengths[:, None]).long())


def _read(model: nn.Module, batches: list[tuple[Tensor, Tensor]], folder: Any) -> list[Reading]:
    with Watch(
        model, folder, rows=RowSampling(n_utterances=6, frames_per_utterance=1000, projection=None), strict=True
    ) as watch:
        for batch in batches:
            with watch.batch(batch), torch.no_grad():
                _call(model, *batch)
        watch.step()
    return watch.readings


@pytest.mark.parametrize(
    ("norm", "lengths"),
    [pytest.param("layer", RAGGED, id="padded"), pytest.param("group", EQUAL, id="equal", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(_hugging_face("HubertConfig", "HubertModel"), id="hf_hubert_base"),
        pytest.param(_hugging_face("Wav2Vec2Config", "Wav2Vec2Model"), id="hf_wav2vec2_base", marks=pytest.mark.slow),
        pytest.param(_torchaudio, id="torchaudio_hubert_base", marks=pytest.mark.slow),
    ],
)
def test_padded_as_one_by_one(make: Any, norm: str, lengths: list[int], tmp_path: Any) -> None:
    """The base models' own front end has a group norm over time, which sees padding; with a layer norm it doesn't.

    So the base models themselves are compared on utterances of equal length, and with a layer norm on ragged ones.
    """
    torch.manual_seed(0)
    model = make(norm)
    waveforms, counts = padded(lengths)
    alone = [(waveforms[i : i + 1, :n], counts[i : i + 1]) for i, n in enumerate(lengths)]
    together = _read(model, [(waveforms, counts)], tmp_path / "together")
    separate = _read(model, alone, tmp_path / "separate")
    assert len(together) == len(separate) == 2 * 13
    for one, other in zip(together, separate, strict=True):
        assert (one.layer, one.level, one.n) == (other.layer, other.level, other.n)
        assert one.n == (6 if one.level == "utterance" else sum((n - 400) // 320 + 1 for n in lengths))
        assert one.rankme == pytest.approx(other.rankme, rel=1e-6)
        assert one.effective_rank == pytest.approx(other.effective_rank, rel=1e-6)
        assert one.spectrum[:16] == pytest.approx(other.spectrum[:16], rel=1e-5)
