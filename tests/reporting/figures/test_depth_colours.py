"""Depth is told by colour: evenly, in print, and with colour blindness."""

import numpy as np
import pytest

from rankwatch.reporting.figures.depth_colours import depth_colours

# Linear sRGB as people without one kind of cone see it (Machado, Oliveira and Fernandes 2009, severity 1).
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
BACKGROUND = {"light": "#ffffff", "dark": "#14181f"}


def linear(colours):
    parts = np.array([[int(one[i : i + 2], 16) / 255 for i in (1, 3, 5)] for one in colours])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def oklab(rgb):
    to_cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    to_cones.append([0.0883024619, 0.2817188376, 0.6299787005])
    cones = np.cbrt(np.clip(rgb, 0, 1) @ np.array(to_cones).T)
    to_lab = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099]]
    to_lab.append([0.0259040371, 0.7827717662, -0.8086757660])
    return cones @ np.array(to_lab).T


def luminance(rgb):
    return rgb @ np.array([0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_steps_are_even_for_the_eye(theme):
    steps = np.linalg.norm(np.diff(oklab(linear(depth_colours(25, theme))), axis=0), axis=1)
    assert steps.max() < 2.0 * steps.min()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("eyes", BLINDNESS)
def test_the_order_survives_a_grey_print_and_colour_blindness(theme, eyes):
    seen = np.clip(linear(depth_colours(25, theme)) @ np.array(BLINDNESS[eyes]).T, 0, 1)
    grey = oklab(seen)[:, 0]
    assert (np.diff(grey) > 0.005).all()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_layer_stands_out_from_the_background(theme):
    back = luminance(linear([BACKGROUND[theme]]))[0]
    mine = luminance(linear(depth_colours(49, theme)))
    contrast = (np.maximum(mine, back) + 0.05) / (np.minimum(mine, back) + 0.05)
    assert contrast.min() > 1.9  # the palest line on white
    assert np.median(contrast) > 3.0


def test_one_layer_has_a_colour():
    assert len(depth_colours(1)) == 1
    assert depth_colours(0) == []
