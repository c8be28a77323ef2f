"""Blocks of the encoders; each is called as ``block(x, valid, causal, bands)``."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu


class Positions(nn.Module):
    """Where a token stands: by a convolution over time, or by sines and an embedding of its band."""

    def __init__(self, width: int, bands: int, convolution: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, width, 25, groups=16) if convolution else None
        self.bands = nn.Parameter(0.1 * torch.randn(bands, width)) if bands > 1 else None

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        """Add them to (B, N, C)."""
        if self.convolution is not None:
            padded = nn.functional.pad(x.transpose(1, 2), (24, 0) if causal else (12, 12))
            return x + gelu(self.convolution(padded)).transpose(1, 2)
        bands = 1 if self.bands is None else len(self.bands)
        times, width = x.shape[1] // bands, x.shape[2]
        angles = torch.arange(times).unsqueeze(1) * torch.logspace(0, -3, width // 2)
        sines = torch.cat([angles.sin(), angles.cos()], 1).repeat_interleave(bands, 0)
        if self.bands is not None:
            sines = sines + self.bands.repeat(times, 1)
        return x + 0.5 * sines.to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention with one joint projection."""

    def __init__(self, width: int, dropout: float, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.drop = heads, dropout
        self.joint, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.sharpness = 1.0  # of the logits

    def forward(self, x: Tensor, valid: Tensor, causal: bool, bands: int) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        b, n, c = x.shape
        q, k, v = self.joint(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        seen = valid[:, None, None, :].expand(b, 1, n, n)
        if causal:
            times = torch.arange(n) // bands
            seen = seen & (times.unsqueeze(1) >= times)
        seen = seen | ~valid[:, None, :, None]  # padding looks anywhere, else its softmax is over nothing
        drop = self.drop if self.training else 0.0
        x = nn.functional.scaled_dot_product_attention(q * self.sharpness, k, v, seen, drop)
        out: Tensor = self.out(x.transpose(1, 2).reshape(b, n, c))
        return out


class FeedForward(nn.Sequential):
    """Two linear maps with GELU between."""

    def __init__(self, width: int, dropout: float, factor: int = 2) -> None:
        wide = factor * width
        super().__init__(nn.Linear(width, wide), nn.GELU(), nn.Dropout(dropout), nn.Linear(wide, width))


class TransformerBlock(nn.Module):
    """Attention and feed-forward, with the norm before each (as in recent models) or after (wav2vec 2.0's base)."""

    def __init__(self, width: int, dropout: float, norm_first: bool) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(width, dropout), FeedForward(width, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.norm_first = norm_first

    def forward(self, x: Tensor, valid: Tensor, causal: bool, bands: int) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        if self.norm_first:
            x = x + self.dropout(self.attention(self.norm1(x), valid, causal, bands))
            return x + self.dropout(self.feed_forward(self.norm2(x)))
        x = self.norm1(x + self.dropout(self.attention(x, valid, causal, bands)))
        out: Tensor = self.norm2(x + self.dropout(self.feed_forward(x)))
        return out


class ConformerBlock(nn.Module):
    """Half a feed-forward, attention, a depthwise convolution with batch norm, half a feed-forward, norm."""

    def __init__(self, width: int, dropout: float, kernel: int = 9) -> None:
        super().__init__()
        self.before, self.after = FeedForward(width, dropout), FeedForward(width, dropout)
        self.attention = Attention(width, dropout)
        self.pointwise = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, groups=width)
        self.batch_norm = nn.BatchNorm1d(width)
        self.mix = nn.Linear(width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(5))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor, causal: bool, bands: int) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        x = x + 0.5 * self.dropout(self.before(self.norms[0](x)))
        x = x + self.dropout(self.attention(self.norms[1](x), valid, causal, bands))
        gated = nn.functional.glu(self.pointwise(self.norms[2](x)), -1) * valid.unsqueeze(2)
        span = self.depthwise.kernel_size[0] - 1
        padded = nn.functional.pad(gated.transpose(1, 2), (span, 0) if causal else (span // 2, span // 2))
        convolved = nn.functional.silu(self.batch_norm(self.depthwise(padded))).transpose(1, 2)
        x = x + self.dropout(self.mix(convolved))
        x = x + 0.5 * self.dropout(self.after(self.norms[3](x)))
        out: Tensor = self.norms[4](x)
        return out


class ConvolutionBlock(nn.Module):
    """A residual dilated convolution over time with batch norm and no attention."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, dilation=dilation)
        self.batch_norm = nn.BatchNorm1d(width)
        self.mix = nn.Conv1d(width, width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor, causal: bool, bands: int) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        span = 2 * self.conv.dilation[0]
        y = (x * valid.unsqueeze(2)).transpose(1, 2)
        y = self.conv(nn.functional.pad(y, (span, 0) if causal else (span // 2, span // 2)))
        return x + self.dropout(self.mix(torch.relu(self.batch_norm(y)))).transpose(1, 2)


class GruBlock(nn.Module):
    """One recurrent layer, forward in time, with a norm after it."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor, causal: bool, bands: int) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        out: Tensor = self.norm(self.dropout(self.gru(x)[0]))
        return out
