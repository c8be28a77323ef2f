"""Which axis of a spectrogram is time: known where something tells, else a guess that says it is one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.extraction.valid_frames.input_axes import InputAxes, input_axes
from rankwatch.extraction.valid_frames.layer_outputs import to_btc


@pytest.mark.parametrize(
    ("shape", "time", "bands", "first", "guessed"),
    [
        ((4, 1, 64, 210), 210, 64, False, False),
        ((4, 1, 100, 64), 100, 64, True, False),
        ((4, 3, 80, 48), 48, 80, False, False),  # only one of them is a usual number of bands
        ((4, 3, 64, 96), 96, 64, False, True),  # both are
        ((4, 3, 96, 64), 96, 64, True, True),
        ((4, 3, 50, 70), 70, 50, False, True),  # neither is
    ],
)
def test_axes(shape: tuple[int, ...], time: int, bands: int, first: bool, guessed: bool) -> None:
    axes = input_axes([torch.zeros(shape)])
    assert axes == InputAxes(time, bands, first)
    assert axes is not None
    assert axes.guessed == guessed


def test_a_length_tells() -> None:
    axes = input_axes([torch.zeros(4, 3, 64, 40)], counts=[40])
    assert axes == InputAxes(40, 64, False)
    assert axes is not None
    assert not axes.guessed


def test_equal_axes_are_not_known() -> None:
    assert input_axes([torch.zeros(4, 3, 64, 64)]) is None


def test_deep_layers_follow_the_order_of_the_first() -> None:
    """Of (3, 2), at the end of five halvings, the frames of another layer would name the bands as time."""
    layer = WatchedLayer("net", nn.Sequential(nn.Conv2d(3, 8, 3)), "block", "student", "")
    hidden = torch.randn(4, 8, 3, 2)
    axes = InputAxes(48, 80, time_first=False)
    assert to_btc(hidden, batch_size=4, layer=layer, axes=axes)[1] == "(B, C, F, T)"
    assert to_btc(hidden, batch_size=4, layer=layer, axes=axes, time_first=True)[1] == "(B, C, T, F)"
