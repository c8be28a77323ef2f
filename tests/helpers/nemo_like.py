"""A stand-in for NVIDIA NeMo's self-supervised models: its shapes, names and calling habits in small.

NeMo itself pins an older Lightning than ours; `test_nemo_itself.py` runs the real classes where they are installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from toys import pl

WIDTH, BANDS, HOP = 24, 16, 20


@dataclass
class AudioNoiseBatch:
    """What NEST's loader gives: three signals, of which the encoder hears the noisy one."""

    sample_id: list[str] | None = None
    audio: Tensor | None = None
    audio_len: Tensor | None = None
    noise: Tensor | None = None
    noise_len: Tensor | None = None
    noisy_audio: Tensor | None = None
    noisy_audio_len: Tensor | None = None


class Preprocessor(nn.Module):
    """(B, T) to (B, D, T'), normalised over the valid part of each utterance, with dither in training."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fb", torch.randn(BANDS, HOP, generator=torch.Generator().manual_seed(0)))

    @torch.no_grad()
    def forward(self, *, input_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        if self.training:
            input_signal = input_signal + 1e-5 * torch.randn_like(input_signal)
        x = torch.einsum("btk,fk->bft", input_signal.unfold(1, HOP, HOP), self.fb).abs().add(1e-3).log()
        frames = length // HOP
        valid = (torch.arange(x.shape[2]) < frames[:, None])[:, None]
        mean = (x * valid).sum(2, keepdim=True) / frames[:, None, None].clamp(min=1)
        return (x - mean) * valid, frames


class MaskProcessor(nn.Module):
    """Masks blocks of frames with one vector, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.mask_embedding = nn.Parameter(torch.randn(BANDS), requires_grad=False)

    def forward(self, *, input_feats: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        masks = (torch.rand(len(input_feats), 1, input_feats.shape[2]) < 0.5).expand_as(input_feats)
        return torch.where(masks, self.mask_embedding.view(1, -1, 1), input_feats), masks.float()


class PreEncode(nn.Module):
    """Fourfold subsampling: (B, T, F) and lengths in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 4, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, padding=1), nn.ReLU()
        )
        self.out = nn.Linear(4 * BANDS // 4, WIDTH)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(x[:, None])
        for _ in range(2):
            lengths = (lengths - 1) // 2 + 1
        return self.out(x.transpose(1, 2).flatten(2)), lengths


class Layer(nn.Module):
    """Called with keywords alone."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_self_att = nn.LayerNorm(WIDTH)
        self.self_attn = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.feed_forward1 = nn.Sequential(nn.Linear(WIDTH, 32), nn.SiLU(), nn.Dropout(0.1), nn.Linear(32, WIDTH))
        self.norm_out = nn.LayerNorm(WIDTH)

    def forward(
        self, *, x: Tensor, att_mask: Any = None, pos_emb: Any = None, pad_mask: Tensor | None = None
    ) -> Tensor:
        y = self.norm_self_att(x) + pos_emb
        x = x + self.self_attn(y, y, y, key_padding_mask=pad_mask)[0]
        return self.norm_out(x + self.feed_forward1(x))


class ConformerEncoder(nn.Module):
    """Returns ((B, D, T), lengths); a positional table that grows; stochastic depth behind the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.pre_encode = PreEncode()
        self.layers = nn.ModuleList([Layer() for _ in range(3)])
        self.max_audio_length = 0
        self.register_buffer("pe", torch.zeros(0, WIDTH), persistent=False)

    def forward(self, audio_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        x, lengths = self.pre_encode(x=audio_signal.transpose(1, 2), lengths=length)
        if x.shape[1] > self.max_audio_length:
            self.max_audio_length = x.shape[1]
            self.pe = torch.sin(torch.arange(x.shape[1])[:, None] / 10.0 ** torch.arange(WIDTH))
        pad_mask = torch.arange(x.shape[1]) >= lengths[:, None]
        for layer in self.layers:
            before = x
            x = layer(x=x, pos_emb=self.pe[: x.shape[1]], pad_mask=pad_mask)
            if self.training and torch.rand(1) < 0.1:
                x = x * 0.0 + before
        return x.transpose(1, 2), lengths


class Masking(nn.Module):
    """Around `pre_encode`: masks what it gives, if it was told to, and remembers what it saw."""

    def __init__(self, pre_encode: nn.Module) -> None:
        super().__init__()
        self.pre_encode = pre_encode
        self.mask_embedding = nn.Parameter(torch.randn(WIDTH), requires_grad=False)
        self.curr_mask: Tensor | None = None
        self.apply_mask = False

    def set_masking_enabled(self, apply_mask: bool) -> None:
        self.apply_mask = apply_mask

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x, lengths = self.pre_encode(x=x, lengths=lengths)
        self.curr_mask = torch.zeros_like(x)
        if self.apply_mask:
            mask = (torch.rand(*x.shape[:2], 1) < 0.5).expand_as(x)
            x, self.curr_mask = torch.where(mask, self.mask_embedding, x), mask.float()
        return x, lengths


class NemoModel(pl.LightningModule):
    """`self.forward` is called, not the module: hooks on the model itself never fire."""

    def __init__(self, after_the_convolutions: bool = False) -> None:
        super().__init__()
        self.preprocessor = Preprocessor()
        self.mask_processor = MaskProcessor()
        self.encoder = ConformerEncoder()
        self.decoder = nn.Conv1d(WIDTH, 8, 1)
        self.pre_encoder = None
        if after_the_convolutions:
            self.pre_encoder = self.encoder.pre_encode = Masking(self.encoder.pre_encode)

    def forward(
        self,
        input_signal: Tensor | None = None,
        input_signal_length: Tensor | None = None,
        noisy_input_signal: Tensor | None = None,
        noisy_input_signal_length: Tensor | None = None,
        apply_mask: bool = False,
    ) -> Tensor:
        signal = input_signal if noisy_input_signal is None else noisy_input_signal
        lengths = input_signal_length if noisy_input_signal is None else noisy_input_signal_length
        features, frames = self.preprocessor(input_signal=signal, length=lengths)
        if self.pre_encoder is not None:
            self.pre_encoder.set_masking_enabled(apply_mask=apply_mask)
        elif apply_mask:
            features, _ = self.mask_processor(input_feats=features, input_lengths=frames)
        encoded, _ = self.encoder(audio_signal=features, length=frames)
        return self.decoder(encoded)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        if isinstance(batch, AudioNoiseBatch):
            out = self.forward(
                input_signal=batch.audio,
                input_signal_length=batch.audio_len,
                noisy_input_signal=batch.noisy_audio,
                noisy_input_signal_length=batch.noisy_audio_len,
                apply_mask=True,
            )
        else:
            out = self.forward(input_signal=batch[0], input_signal_length=batch[1], apply_mask=True)
        return {"loss": out.square().mean()}

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], 1e-3)
