"""Six small encoders with one interface: waveforms in, a sequence of tokens out, masked in train mode only."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from zoo_of_encoders.blocks import ConformerBlock, ConvolutionBlock, GruBlock, Positions, TransformerBlock
from zoo_of_encoders.front_ends import MelFrames, MelImage, MelPatches, RawWaveform

BANDS = 80


class EncoderOutput(NamedTuple):
    """What a pass gives; N tokens are times x bands, with all bands of a time next to each other.

    Attributes:
        features: (B, N, C), the last block's output.
        valid: (B, N), tokens that are no padding.
        mask: (B, N), tokens that were replaced by the mask embedding; none in eval mode.
        hidden: Output of each block, all (B, N, C).
        local: (B, N, L), what the front end gave, never masked.
    """

    features: Tensor
    valid: Tensor
    mask: Tensor
    hidden: tuple[Tensor, ...]
    local: Tensor


class Encoder(nn.Module):
    """Front end, mask, positions and blocks.

    Args:
        architecture: One of `split.ARCHITECTURES`, or ``"deep_raw_waveform"`` with five blocks for the study.
        width: Of the blocks.
        dropout: Everywhere in the blocks.
        causal: Whether no block sees later times than its own.
        mask_share: Expected share of masked tokens in train mode; 0 for none.
        mask_span: Frames of 20 ms of one masked span.
    """

    def __init__(
        self,
        architecture: str,
        width: int = 96,
        dropout: float = 0.1,
        causal: bool = False,
        mask_share: float = 0.5,
        mask_span: int = 8,
    ) -> None:
        super().__init__()
        self.mel = MelSpectrogram(16_000, n_fft=400, hop_length=160, n_mels=BANDS)
        kind = architecture.removeprefix("deep_")
        channels = {"raw_waveform": 32, "patches": width}.get(kind, 64)
        self.feature_extractor: nn.Module = {
            "raw_waveform": RawWaveform,
            "patches": MelPatches,
            "conformer": MelImage,
        }.get(kind, MelFrames)(channels)
        self.raw = kind == "raw_waveform"
        self.bands = 5 if architecture == "patches" else 1
        self.per_token = 2 if architecture == "patches" else 1  # frames of 20 ms
        self.input = Contents(self.bands, self.per_token)
        self.projection = nn.Linear(channels, width)
        self.positions = Positions(width, self.bands, convolution=architecture == "mel_transformer" or self.raw)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_block(architecture, i, width, dropout) for i in range(_DEPTH[architecture]))
        self.causal = causal
        self.mask_share, self.mask_span = mask_share, max(1, mask_span // self.per_token)
        self.mask_embedding = nn.Parameter(torch.empty(width).uniform_())
        self.layer_drop = 0.05

    @property
    def channels(self) -> int:
        """Width of the front end."""
        return self.projection.in_features

    def log_mel(self, waveforms: Tensor) -> Tensor:
        """(B, 80, times of 10 ms)."""
        return torch.log(self.mel(waveforms) + 1e-3)

    def contents(self, mel: Tensor, tokens: int) -> Tensor:
        """See `Contents`."""
        contents: Tensor = self.input(mel, tokens)
        return contents

    def at_tokens(self, frames: Tensor, tokens: int) -> Tensor:
        """(B, T) values of frames of 20 ms to (B, N) of tokens."""
        times = torch.arange(tokens // self.bands) * self.per_token
        return frames[:, times.clamp(max=frames.shape[1] - 1)].repeat_interleave(self.bands, 1)

    def draw_mask(self, valid: Tensor) -> Tensor:
        """Spans in time, each band by itself, at least one start in each utterance and band; never over padding."""
        if not self.training or self.mask_share <= 0:
            return torch.zeros_like(valid)
        rows = valid.reshape(len(valid), -1, self.bands).transpose(1, 2).flatten(0, 1)
        start = 1 - (1 - self.mask_share) ** (1 / self.mask_span)
        starts = torch.rand(rows.shape) < start
        starts[torch.arange(len(rows)), (torch.rand(len(rows)) * rows.sum(1)).long()] = True
        padded = nn.functional.pad(starts.float(), (self.mask_span - 1, 0)).unsqueeze(1)
        spans = nn.functional.max_pool1d(padded, self.mask_span, 1).squeeze(1) > 0
        return (spans & rows).reshape(len(valid), self.bands, -1).transpose(1, 2).flatten(1)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> EncoderOutput:
        """Encode (B, n) padded samples with (B,) valid ones."""
        mel = self.log_mel(waveforms)
        local = self.feature_extractor(waveforms if self.raw else mel)
        frames = lengths // 320 if self.raw else (lengths // 160 + 2) // 2
        times = frames // self.per_token if self.bands > 1 else frames
        valid = (torch.arange(local.shape[1] // self.bands) < times.unsqueeze(1)).repeat_interleave(self.bands, 1)
        self.input(mel, local.shape[1])
        x = self.projection(local)
        mask = self.draw_mask(valid)
        x = torch.where(mask.unsqueeze(2), self.mask_embedding.to(x.dtype), x) * valid.unsqueeze(2)
        x = self.dropout(self.norm(self.positions(x, self.causal)))
        hidden = []
        for block in self.blocks:
            if not (self.training and torch.rand(()) < self.layer_drop):
                x = block(x, valid, self.causal, self.bands)
            hidden.append(x)
        return EncoderOutput(x, valid, mask, tuple(hidden), local)


class Contents(nn.Module):
    """What each token stands for in the log-mel spectrogram: two frames of 10 ms, or a patch.

    A module, so that the input's own rank can be read at the same frames as the layers'.
    """

    def __init__(self, bands: int, per_token: int) -> None:
        super().__init__()
        self.bands, self.per_token = bands, per_token

    def forward(self, mel: Tensor, tokens: int) -> Tensor:
        """(B, 80, T) to (B, N, P)."""
        times, frames = tokens // self.bands, 2 * self.per_token
        mel = nn.functional.pad(mel, (0, max(0, times * frames - mel.shape[2])))[:, :, : times * frames]
        patches = mel.reshape(len(mel), self.bands, BANDS // self.bands, times, frames)
        return patches.permute(0, 3, 1, 2, 4).reshape(len(mel), tokens, -1)


_DEPTH = {
    "mel_transformer": 3,
    "deep_raw_waveform": 5,
    "raw_waveform": 3,
    "conformer": 3,
    "cnn": 4,
    "gru": 3,
    "patches": 3,
}


def _block(architecture: str, index: int, width: int, dropout: float) -> nn.Module:
    if architecture == "cnn":
        return ConvolutionBlock(width, 2**index, dropout)
    if architecture == "gru":
        return GruBlock(width, dropout)
    if architecture == "conformer":
        return ConformerBlock(width, dropout)
    return TransformerBlock(width, dropout, norm_first=not architecture.endswith("raw_waveform"))
