"""From waveforms or log-mel spectrograms to local features, one every 20 ms (patches: every 40 ms and 16 bands)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import gelu


class MelFrames(nn.Module):
    """Two convolutions over time, the second halving."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [nn.Conv1d(80, channels, 3, padding=1), nn.Conv1d(channels, channels, 3, stride=2, padding=1)]
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, 80, T) to (B, T / 2, C)."""
        for conv in self.convs:
            mel = gelu(conv(mel))
        out: Tensor = self.norm(mel.transpose(1, 2))
        return out


class MelImage(nn.Module):
    """A convolution over time and bands that halves both, as conformers have it, and a linear map."""

    def __init__(self, channels: int, planes: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, planes, 3, stride=2, padding=1)
        self.linear = nn.Linear(planes * 40, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, 80, T) to (B, T / 2, C)."""
        x = gelu(self.conv(mel.unsqueeze(1)))
        out: Tensor = self.norm(self.linear(x.permute(0, 3, 1, 2).flatten(2)))
        return out


class MelPatches(nn.Module):
    """Patches of 16 bands and 40 ms, mapped linearly."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, channels, (16, 4), stride=(16, 4))
        self.norm = nn.LayerNorm(channels)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, 80, T) to (B, 5 T / 4, C), all bands of a time next to each other."""
        x = self.conv(mel.unsqueeze(1))
        out: Tensor = self.norm(x.permute(0, 3, 2, 1).flatten(1, 2))
        return out


class RawWaveform(nn.Module):
    """Seven convolutions with the kernels and strides of wav2vec 2.0, group norm after the first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        shapes = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
        self.convs = nn.ModuleList(
            nn.Conv1d(channels if i else 1, channels, kernel, stride, bias=False)
            for i, (kernel, stride) in enumerate(shapes)
        )
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight)
        self.group_norm = nn.GroupNorm(channels, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, n) to (B, n / 320, C)."""
        x = nn.functional.pad(waveforms, (0, 400 - 320)).unsqueeze(1)  # a token for each whole hop
        for i, conv in enumerate(self.convs):
            x = conv(x)
            x = gelu(x if i else self.group_norm(x))
        out: Tensor = self.norm(x.transpose(1, 2))
        return out
