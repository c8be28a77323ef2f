"""Colours that tell depth: an even scale from the front end to the last layer, for light and for dark backgrounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

Theme = str
"""``"light"`` or ``"dark"``."""

_SCALES = {"light": ((0.33, 0.13, 282.0), (0.78, 0.155, 112.0)), "dark": ((0.55, 0.15, 282.0), (0.93, 0.14, 112.0))}
"""Lightness, chroma and hue (degrees) of both ends in OKLCh: from blue to a yellowish green.

Lightness rises all the way, so the order survives a grey print and every kind of colour blindness, and it spans as much
as the background allows."""

RUN_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6bb1", "#7f7f7f")
"""Of runs laid over each other: Okabe and Ito's, which people with colour blindness tell apart."""

WARNING_COLOUR, CRITICAL_COLOUR, INFO_COLOUR, CALM_COLOUR = "#e69f00", "#d55e00", "#8a8f98", "#009e73"
NEUTRAL = "#8a8f98"
"""A grey that is readable on white and on near-black."""


def depth_colours(n: int, theme: Theme = "light") -> list[str]:
    """One colour for each layer, evenly spaced for the eye: equal steps of lightness and hue in OKLab.

    Args:
        n: Layers.
        theme: ``"light"`` or ``"dark"``: what they are seen against.

    Returns:
        `n` colours as ``"#rrggbb"``, from the front end to the last layer.

    Example:
        >>> depth_colours(2)
        ['#2f2575', '#bac035']
    """
    start, end = _SCALES[theme]
    places = [i / (n - 1) if n > 1 else 0.0 for i in range(n)]
    return [_hex(*(a + (b - a) * place for a, b in zip(start, end, strict=True))) for place in places]


def translucent(colour: str, opacity: float) -> str:
    """A colour that lets through what is behind it.

    Args:
        colour: ``"#rrggbb"``.
        opacity: In [0, 1].

    Returns:
        ``"rgba(...)"``.

    Example:
        >>> translucent("#0072b2", 0.2)
        'rgba(0,114,178,0.2)'
    """
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def _hex(lightness: float, chroma: float, hue: float) -> str:
    """From OKLCh to sRGB (Ottosson 2020); chroma is lowered until the colour exists."""
    while True:
        a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
        linear = _linear(lightness, a, b)
        if chroma < 0.005 or all(-1e-4 <= part <= 1.0001 for part in linear):
            return "#" + "".join(f"{round(255 * _gamma(min(max(part, 0.0), 1.0))):02x}" for part in linear)
        chroma -= 0.004


def _linear(lightness: float, a: float, b: float) -> Sequence[float]:
    cones = (
        (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3,
        (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3,
        (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3,
    )
    rows = (
        (4.0767416621, -3.3077115913, 0.2309699292),
        (-1.2684380046, 2.6097574011, -0.3413193965),
        (-0.0041960863, -0.7034186147, 1.7076147010),
    )
    return [sum(weight * cone for weight, cone in zip(row, cones, strict=True)) for row in rows]


def _gamma(part: float) -> float:
    return 12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055
