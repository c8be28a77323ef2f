"""Small real models without weights, and the audio to run them on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

CONV = [(16, 10, 5), (16, 3, 2), (16, 2, 2)]
WIDTH = 24
SAMPLES = (1600, 900, 1234, 37)


def audio(lengths: tuple[int, ...] = SAMPLES, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(B, T) noise, zero-padded to the longest, and its (B,) lengths."""
    generator = torch.Generator().manual_seed(seed)
    waveforms = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(waveforms, lengths, strict=True):
        row[:length] = torch.randn(length, generator=generator)
    return waveforms, torch.tensor(lengths)


def _torchaudio_config(**changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = {
        "extractor_mode": "layer_norm",
        "extractor_conv_layer_config": CONV,
        "extractor_conv_bias": False,
        "encoder_embed_dim": WIDTH,
        "encoder_projection_dropout": 0.1,
        "encoder_pos_conv_kernel": 5,
        "encoder_pos_conv_groups": 2,
        "encoder_num_layers": 3,
        "encoder_num_heads": 2,
        "encoder_attention_dropout": 0.1,
        "encoder_ff_interm_features": 32,
        "encoder_ff_interm_dropout": 0.1,
        "encoder_dropout": 0.1,
        "encoder_layer_norm_first": False,
        "encoder_layer_drop": 0.0,
    }
    return {**config, **changes}


def torchaudio_wav2vec2() -> nn.Module:
    models = pytest.importorskip("torchaudio.models")
    return models.wav2vec2_model(**_torchaudio_config(), aux_num_out=None).eval()


def torchaudio_wavlm() -> nn.Module:
    models = pytest.importorskip("torchaudio.models")
    extra = {"encoder_num_buckets": 20, "encoder_max_distance": 50, "aux_num_out": None}
    return models.wavlm_model(**_torchaudio_config(), **extra).eval()


def torchaudio_hubert(**changes: Any) -> nn.Module:
    models = pytest.importorskip("torchaudio.models")
    masking = {
        "mask_prob": 0.8,
        "mask_selection": "static",
        "mask_other": 0.0,
        "mask_length": 3,
        "no_mask_overlap": False,
        "mask_min_space": 1,
        "mask_channel_prob": 0.0,
        "mask_channel_selection": "static",
        "mask_channel_other": 0.0,
        "mask_channel_length": 3,
        "no_mask_channel_overlap": False,
        "mask_channel_min_space": 1,
        "skip_masked": False,
        "skip_nomask": False,
        "num_classes": 8,
        "final_dim": 8,
        "feature_grad_mult": 0.1,
    }
    return models.hubert_pretrain_model(**_torchaudio_config(**changes), **masking).eval()


HUGGING_FACE = [
    ("Wav2Vec2ConformerConfig", "Wav2Vec2ConformerModel"),
    ("UniSpeechSatConfig", "UniSpeechSatModel"),
    ("Wav2Vec2Config", "Wav2Vec2Model"),
    ("Wav2Vec2Config", "Wav2Vec2ForPreTraining"),
    ("Wav2Vec2Config", "Wav2Vec2ForCTC"),
    ("HubertConfig", "HubertModel"),
    ("WavLMConfig", "WavLMModel"),
    ("Data2VecAudioConfig", "Data2VecAudioModel"),
]


def hugging_face(config: str, model: str, **changes: Any) -> nn.Module:
    transformers = pytest.importorskip("transformers")

    settings = {
        "hidden_size": WIDTH,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "conv_dim": [c for c, _, _ in CONV],
        "conv_kernel": [k for _, k, _ in CONV],
        "conv_stride": [s for _, _, s in CONV],
        "num_feat_extract_layers": len(CONV),
        "feat_extract_norm": "layer",
        "num_conv_pos_embeddings": 5,
        "num_conv_pos_embedding_groups": 2,
        "vocab_size": 8,
        "codevector_dim": 8,
        "proj_codevector_dim": 8,
        "num_codevectors_per_group": 4,
        "mask_time_length": 2,
    }
    built = getattr(transformers, config)(**{**settings, **changes})
    return getattr(transformers, model)(built).eval()


class Fires:
    """The outputs of watched layers in one forward pass."""

    def __init__(self, layers: list[Any]) -> None:
        self.outputs: dict[str, Any] = {}
        self._layers = layers

    def __enter__(self) -> Fires:
        def keep(name: str) -> Any:
            return lambda module, args, kwargs, output: self.outputs.setdefault(name, output)

        self._handles = [
            layer.module.register_forward_hook(keep(layer.name), with_kwargs=True) for layer in self._layers
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()


class FairseqLikeBlock(nn.Module):
    """(T, B, C) in and out, attention written out, (x, (attention, residual)) returned."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 32), nn.Linear(32, width)

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> tuple[Tensor, tuple[Tensor, None]]:
        q, k, v = (part.transpose(0, 1) for part in self.qkv(x).chunk(3, dim=-1))
        scores = q @ k.transpose(1, 2)
        if padding_mask is not None:
            scores = scores.masked_fill(padding_mask[:, None, :], -1e4)
        weights = scores.softmax(dim=-1)
        x = self.norm1(x + self.out((weights @ v).transpose(0, 1)))
        return self.norm2(x + self.fc2(self.fc1(x).relu())), (weights, None)


class FairseqLike(nn.Module):
    """Waveforms and a padding mask of samples (True = padding), keyword-only, blocks in (T, B, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_extractor = nn.Sequential(nn.Conv1d(1, 16, 10, 5), nn.GELU(), nn.Conv1d(16, 16, 4, 2))
        self.post_extract_proj = nn.Linear(16, WIDTH)
        self.blocks = nn.ModuleList([FairseqLikeBlock() for _ in range(2)])

    def forward(self, *, source: Tensor, padding_mask: Tensor | None = None, trim: int = 0) -> Tensor:
        x = self.feature_extractor(source[:, None])
        x = self.post_extract_proj(x.transpose(1, 2)).transpose(0, 1)
        x = x[: len(x) - trim]
        for block in self.blocks:
            x, _ = block(x)
        return x.transpose(0, 1)


class SpeechBrainConv(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(-1, 1)
        return self.conv(nn.functional.pad(x, (1, 1, 1, 1))).movedim(1, -1)


class SpeechBrainLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_att = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.pos_ffn = nn.Sequential(nn.Linear(WIDTH, 32), nn.ReLU(), nn.Linear(32, WIDTH))
        self.norm1 = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, attention = self.self_att(x, x, x)
        return self.norm1(x + y + self.pos_ffn(x)), attention


class SpeechBrainLike(nn.Module):
    """Features (B, T, F), channels last, padding outside of the convolutions, fractions as lengths."""

    def __init__(self) -> None:
        super().__init__()
        front_end = nn.Sequential(SpeechBrainConv(1, 4), SpeechBrainConv(4, 4))
        self.modules_ = nn.ModuleDict({"CNN": front_end, "linear": nn.Linear(4 * 5, WIDTH)})
        self.modules_["layers"] = nn.ModuleList([SpeechBrainLayer() for _ in range(2)])

    def forward(self, features: Tensor) -> Tensor:
        x = self.modules_["linear"](self.modules_["CNN"](features[..., None]).flatten(2))
        for layer in self.modules_["layers"]:
            x, _ = layer(x)
        return x
