"""Models that take spectrograms: the audio goes through the feature extractor that belongs to the model."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.extraction.model.conventions import TRANSFORMERS
from rankwatch.extraction.model.module_paths import comes_from

_SHORT, _LONG = 1.0, 2.0
"""Seconds of noise that tell whether an extractor pads everything to one length."""


@dataclass(frozen=True)
class FeatureInput:
    """How audio becomes a model's input.

    Attributes:
        name: The extractor, for the protocol.
        run: Takes a waveform (T,) and gives the model's keyword arguments.
        window: Seconds that every input is padded or cut to; None where the input is as long as the audio.
    """

    name: str
    run: Callable[[Tensor], dict[str, Tensor]]
    window: float | None


def needs_features(model: nn.Module) -> bool:
    """Whether a model of Hugging Face's takes something else than waveforms."""
    name = getattr(model, "main_input_name", "")
    return comes_from(model, TRANSFORMERS) and (name == "input_features" or _takes_spectrogram(model))


def _takes_spectrogram(model: nn.Module) -> bool:
    config: Any = getattr(model, "config", None)
    return getattr(config, "model_type", "") == "audio-spectrogram-transformer"


def default_extractor(model: nn.Module) -> Any:
    """The feature extractor of a Hugging Face model's kind, with the number of bands that the model takes.

    Args:
        model: A model that `needs_features` is true of.

    Returns:
        The extractor, with the defaults of its class.

    Raises:
        ValueError: If none is known for this kind; the message says what to pass.
    """
    config: Any = model.config
    kind = getattr(config, "model_type", "")
    known = importlib.import_module("transformers.models.auto.feature_extraction_auto").FEATURE_EXTRACTOR_MAPPING_NAMES
    # Hugging Face's table names the waveform's extractor for this model, which takes log-mels of another.
    name = {"wav2vec2-bert": "SeamlessM4TFeatureExtractor"}.get(kind, known.get(kind))
    make = getattr(importlib.import_module("transformers"), name, None) if name else None
    if make is None:
        raise ValueError(
            f"{type(model).__name__} takes features, and which extractor makes them isn't known; pass "
            "feature_extractor= with the extractor that it was trained with"
        )
    bands = getattr(config, "num_mel_bins", None)
    return make(feature_size=bands) if name == "WhisperFeatureExtractor" and bands else make()


def feature_input(extractor: Any, sample_rate: int) -> FeatureInput:
    """Make a feature extractor's output the model's input.

    Args:
        extractor: Called as Hugging Face's are: ``extractor(waveform, sampling_rate=..., return_tensors="pt")``.
        sample_rate: Samples per second of the audio.

    Returns:
        See `FeatureInput`.

    Raises:
        ValueError: If what it gives holds no tensor.
    """

    def run(waveform: Tensor) -> dict[str, Tensor]:
        found = extractor(waveform.cpu().numpy(), sampling_rate=sample_rate, return_tensors="pt")
        return {name: value for name, value in dict(found).items() if isinstance(value, Tensor)}

    generator = torch.Generator().manual_seed(0)
    shapes = []
    for seconds in (_SHORT, _LONG):
        given = run(0.1 * torch.randn(int(seconds * sample_rate), generator=generator))
        if not given:
            raise ValueError(f"feature_extractor: {type(extractor).__name__} gave no tensor for a waveform")
        shapes.append({name: value.shape for name, value in given.items()})
    fixed = shapes[0] == shapes[1]
    return FeatureInput(type(extractor).__name__, run, _window(extractor, shapes[0], sample_rate) if fixed else None)


def _window(extractor: Any, shapes: dict[str, torch.Size], sample_rate: int) -> float:
    """Seconds of the one length that every input has."""
    samples = getattr(extractor, "n_samples", None)
    if isinstance(samples, int):
        return samples / float(getattr(extractor, "sampling_rate", sample_rate))
    frames, hop = getattr(extractor, "max_length", None), getattr(extractor, "hop_length", None)
    if isinstance(frames, int):
        return frames * (hop / sample_rate if isinstance(hop, int) else 0.01)
    raise ValueError(
        f"feature_extractor: {type(extractor).__name__} pads everything to one length ({shapes}), and how many seconds "
        "that is isn't known; give it an attribute n_samples"
    )
