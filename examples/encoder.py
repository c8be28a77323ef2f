"""The small speech encoder that data2vec trains: log-mel front end, transformer, masking in train mode only."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram


class EncoderOutput(NamedTuple):
    """What a pass through the encoder gives.

    Attributes:
        features: (B, T, C), the last layer's output.
        lengths: (B,), valid frames.
        mask: (B, T), frames that were replaced by the mask embedding; None in eval mode.
        hidden: Output of each layer, all (B, T, C).
    """

    features: Tensor
    lengths: Tensor
    mask: Tensor | None
    hidden: tuple[Tensor, ...]


class FeatureExtractor(nn.Module):
    """Waveform to frames of 20 ms: log-mel of 80 bands every 10 ms, then two convolutions, the second halving.

    Args:
        channels: Width of its output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mel = MelSpectrogram(16_000, n_fft=400, hop_length=160, n_mels=80)
        self.convs = nn.ModuleList(
            [nn.Conv1d(80, channels, 3, padding=1), nn.Conv1d(channels, channels, 3, stride=2, padding=1)]
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) samples and (B,) lengths to (B, T, C) frames and (B,) lengths."""
        x = torch.log(self.mel(waveforms) + 1e-3)
        for conv in self.convs:
            x = nn.functional.gelu(conv(x))
        # mel gives n // 160 + 1 frames (centred windows), the stride of 2 rounds up.
        frames = (lengths // 160 + 2) // 2
        return self.norm(x.transpose(1, 2)), frames


class SpeechEncoder(nn.Module):
    """Front end, projection, convolutional positions, and pre-norm transformer layers.

    Called as ``encoder(waveforms, lengths)``. In train mode it masks spans of frames and drops layers at random;
    in eval mode it does neither.

    Args:
        channels: Width of the front end.
        width: Width of the transformer.
        depth: Transformer layers.
        heads: Attention heads.
        dropout: Everywhere in the transformer.
        layer_drop: Probability that a layer is skipped in train mode (Fan et al. 2019).
        mask_share: Expected share of masked frames.
        mask_span: Frames of 20 ms per masked span.
    """

    def __init__(
        self,
        channels: int = 128,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        dropout: float = 0.1,
        layer_drop: float = 0.05,
        mask_share: float = 0.5,
        mask_span: int = 8,
    ) -> None:
        super().__init__()
        if not 0 < mask_share < 1 or mask_span < 1:
            raise ValueError(f"need 0 < mask_share < 1 and mask_span >= 1, got {mask_share} and {mask_span}")
        self.feature_extractor = FeatureExtractor(channels)
        self.projection = nn.Linear(channels, width)
        self.positions = nn.Conv1d(width, width, 25, padding=12, groups=16)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 2 * width, dropout, "gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.mask_embedding = nn.Parameter(torch.empty(width).uniform_())
        self.layer_drop = layer_drop
        self.mask_span = mask_span
        # P(frame stays) = P(none of `span` possible starts) = (1 - start)^span = 1 - share.
        self._start = 1 - (1 - mask_share) ** (1 / mask_span)

    def draw_mask(self, valid: Tensor) -> Tensor:
        """Spans of `mask_span` frames, at least one start in each utterance; (B, T) bool, never over padding."""
        starts = torch.rand(valid.shape, device=valid.device) < self._start
        forced = (torch.rand(len(valid), device=valid.device) * valid.sum(1)).long()
        starts[torch.arange(len(valid), device=valid.device), forced] = True
        padded = nn.functional.pad(starts.float(), (self.mask_span - 1, 0))
        spans = nn.functional.max_pool1d(padded.unsqueeze(1), self.mask_span, 1).squeeze(1) > 0
        return spans & valid

    def forward(self, waveforms: Tensor, lengths: Tensor) -> EncoderOutput:
        """Encode (B, N) padded samples with (B,) valid ones."""
        x, frames = self.feature_extractor(waveforms, lengths)
        x = self.projection(x)
        valid = torch.arange(x.shape[1], device=x.device) < frames.unsqueeze(1)
        mask = self.draw_mask(valid) if self.training else None
        if mask is not None:
            x = torch.where(mask.unsqueeze(2), self.mask_embedding, x)
        x = x * valid.unsqueeze(2)
        x = x + nn.functional.gelu(self.positions(x.transpose(1, 2))).transpose(1, 2)
        x = self.dropout(self.norm(x))
        hidden = []
        for layer in self.layers:
            if not (self.training and torch.rand(()) < self.layer_drop):
                x = layer(x, src_key_padding_mask=~valid)
            hidden.append(x)
        return EncoderOutput(x, frames, mask, tuple(hidden))
