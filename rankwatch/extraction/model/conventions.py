"""What is known by name of other packages' models: layouts of their layers, and how they count frames."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import nn

from rankwatch.extraction.model.module_paths import comes_from

TORCHAUDIO = "torchaudio.models.wav2vec2"
TRANSFORMERS = "transformers."
NEMO = "nemo."
SPEECHBRAIN = "speechbrain."

_FRONT_END_LAYOUTS = {TRANSFORMERS: "(B, C, T)", TORCHAUDIO: "(B, T, C)"}
"""By package, whose layers all have the batch first: the layout of its convolutional front ends' output."""

_OF_WAVEFORMS = re.compile("Feature(Encoder|Extractor)")
"""In transformers, how the classes of those front ends are called; its embeddings have the channels last."""

_FORMULAS = ("_get_feat_extract_output_lengths", "_get_subsampling_output_length")


def add_layout(package: str, front_end_layout: str) -> None:
    """All layers of a package have the batch first, and its front ends this layout.

    Args:
        package: How the modules' import paths begin.
        front_end_layout: ``"(B, C, T)"`` or ``"(B, T, C)"``.

    Raises:
        ValueError: For another layout.
    """
    if front_end_layout not in ("(B, C, T)", "(B, T, C)"):
        raise ValueError(f"front_end_layout={front_end_layout!r}: must be '(B, C, T)' or '(B, T, C)'")
    _FRONT_END_LAYOUTS[package] = front_end_layout


def front_end_layouts(module: nn.Module) -> list[str]:
    """The layouts that a front end's output has by convention.

    Args:
        module: The front end.

    Returns:
        One layout for each package that its class comes from; empty where nothing is known.
    """
    return [
        layout
        for package, layout in _FRONT_END_LAYOUTS.items()
        if comes_from(module, package) and (package != TRANSFORMERS or _OF_WAVEFORMS.search(type(module).__name__))
    ]


def has_batch_first(module: nn.Module) -> bool:
    """Whether a layer's output has the batch first by convention.

    Args:
        module: Any layer.

    Returns:
        False also where nothing is known.
    """
    return comes_from(module, tuple(_FRONT_END_LAYOUTS))


def output_length_formula(module: nn.Module) -> Callable[[Any], Any] | None:
    """A model's own formula from numbers of samples or input frames to numbers of frames: Hugging Face's have one.

    Args:
        module: Any module.

    Returns:
        The formula, or None where the module has none. It may take a vector or one number, and give one or several.
    """
    formulas = (getattr(module, name, None) for name in _FORMULAS)
    return next((formula for formula in formulas if callable(formula)), None)
