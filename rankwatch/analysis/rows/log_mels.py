"""Log-mel spectra at given times: the acoustics that layers are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

BANDS = 80
"""Mel bands."""

_WINDOW, _FFT = 0.025, 512
_LOWEST, _FLOOR = 20.0, 1e-10


def log_mels(waveform: Tensor, sample_rate: int, seconds: Sequence[float]) -> Tensor:
    """Log-mel spectra of windows of 25 ms (Hann) that are centred at given times.

    80 triangular bands from 20 Hz to half of the sampling rate on the scale 2595 log10(1 + f / 700) (O'Shaughnessy
    1987), natural logarithm of the power, from 1e-10.

    Args:
        waveform: (T,) float32 in [-1, 1].
        sample_rate: Samples per second.
        seconds: The k times, from the beginning.

    Returns:
        (k, 80) float32.
    """
    width = round(_WINDOW * sample_rate)
    size = max(_FFT, 1 << (width - 1).bit_length())
    padded = torch.nn.functional.pad(waveform.float(), (width, width))
    starts = torch.tensor([round(s * sample_rate) + width - width // 2 for s in seconds], dtype=torch.int64)
    starts = starts.clamp(0, len(padded) - width)
    windows = padded[starts[:, None] + torch.arange(width)] * torch.hann_window(width)
    power = torch.fft.rfft(windows, size).abs().square() / width
    mels: Tensor = (power @ _filters(sample_rate, size)).clamp(min=_FLOOR).log()
    return mels


@cache
def _filters(sample_rate: int, size: int) -> Tensor:
    """(size / 2 + 1, 80) triangular filters."""

    def mel(hertz: Tensor) -> Tensor:
        return 2595.0 * torch.log10(1.0 + hertz / 700.0)

    edges = mel(torch.tensor([_LOWEST, sample_rate / 2.0], dtype=torch.float64))
    points = torch.linspace(float(edges[0]), float(edges[1]), BANDS + 2, dtype=torch.float64)
    bins = mel(torch.linspace(0.0, sample_rate / 2.0, size // 2 + 1, dtype=torch.float64))[:, None]
    rising = (bins - points[:-2]) / (points[1:-1] - points[:-2])
    falling = (points[2:] - bins) / (points[2:] - points[1:-1])
    return torch.minimum(rising, falling).clamp(min=0.0).float()
