"""Models as people name them: a factory, a Hugging Face folder or name, a torchaudio bundle, a checkpoint."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from rankwatch.checkpoints.lightning_modules import from_hyperparameters, is_lightning_class
from rankwatch.checkpoints.load_weights import load_weights
from rankwatch.checkpoints.stored_checkpoint import open_checkpoint
from rankwatch.runtime.import_path import import_function


@dataclass(frozen=True)
class NamedModel:
    """A model that was found.

    Attributes:
        name: What it is called in tables.
        root: The model.
        sample_rate: Samples per second that it expects, where its source says so.
        extractor: Its feature extractor, where its source has one.
    """

    name: str
    root: nn.Module
    sample_rate: int | None = None
    extractor: Any = None


def find_model(source: nn.Module | str | Path) -> NamedModel:
    """Find a model by what the user called it.

    Args:
        source: A model; ``"module:factory"`` (a function or class without arguments, or a model);
            ``"module:Class@file.ckpt"`` for any checkpoint that `open_checkpoint` reads, a class of Lightning's with
            the hyperparameters in it; a folder that
            Hugging Face's ``save_pretrained`` has written, or a name on their hub; the name of a bundle of
            ``torchaudio.pipelines``, such as ``"WAV2VEC2_BASE"``.

    Returns:
        The model, on the CPU. Where there is none, a ValueError says what was tried.
    """
    if isinstance(source, nn.Module):
        return NamedModel(type(source).__name__, source)
    text = str(source)
    where, at, checkpoint = text.partition("@")
    if at:
        return NamedModel(Path(checkpoint).stem, _of_checkpoint(where, Path(checkpoint)))
    if ":" in text and not Path(text).exists():
        return NamedModel(text, _made(text, import_function(text)))
    if text.isupper() and text.isidentifier():
        return _of_bundle(text)
    return _of_hugging_face(text)


def _made(name: str, factory: Any) -> nn.Module:
    if not isinstance(factory, nn.Module):
        try:
            inspect.signature(factory).bind()
        except TypeError as error:
            raise ValueError(f"{name!r} can't be called without arguments ({error}); name one that can") from error
        except ValueError:  # of some built-in functions there is none
            pass
    model = factory if isinstance(factory, nn.Module) else factory()
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name!r} gave a {type(model).__name__}, not a torch.nn.Module")
    return model


def _of_checkpoint(where: str, file: Path) -> nn.Module:
    """A class that is made, a Lightning one from the checkpoint's hyperparameters, and given its weights."""
    if not file.exists():
        raise ValueError(f"there is no checkpoint {file}")
    factory: Any = import_function(where)
    stored = open_checkpoint(file)
    if is_lightning_class(factory):
        model = _made(where, from_hyperparameters(factory, where, stored, file))
    else:
        model = _made(where, factory)
    load_weights(model, stored.weights(), source=file)
    return model


def _of_bundle(name: str) -> NamedModel:
    try:
        pipelines: Any = importlib.import_module("torchaudio.pipelines")
    except ImportError as error:
        raise ValueError(f"{name!r} looks like a bundle of torchaudio's, which isn't installed: {error}") from error
    bundle = getattr(pipelines, name, None)
    if bundle is None or not hasattr(bundle, "get_model"):
        raise ValueError(f"torchaudio.pipelines has no bundle {name!r} with a model")
    return NamedModel(name, bundle.get_model(), round(bundle.sample_rate))


def _of_hugging_face(text: str) -> NamedModel:
    folder = Path(text)
    if not folder.is_dir() and (folder.suffix or text.count("/") != 1 or text.startswith((".", "/"))):
        raise ValueError(
            f"{text!r} is no model: expected module:factory, module:Class@file.ckpt, a folder or name of Hugging "
            "Face's, or the name of a torchaudio bundle such as WAV2VEC2_BASE"
        )
    try:
        transformers: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise ValueError(f"{text!r} looks like a model of Hugging Face's: pip install transformers") from error
    try:
        model = transformers.AutoModel.from_pretrained(text)
    except Exception as error:
        raise ValueError(f"{text!r} could not be read as a model of Hugging Face's: {error}") from error
    extractor = None
    try:
        extractor = transformers.AutoFeatureExtractor.from_pretrained(text)
    except Exception as error:  # without one the model's own kind decides
        if folder.is_dir() and (folder / "preprocessor_config.json").is_file():
            raise ValueError(f"the feature extractor in {text!r} could not be read: {error}") from error
    return NamedModel(folder.name, model, getattr(extractor, "sampling_rate", None), extractor)
