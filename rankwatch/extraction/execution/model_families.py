"""The unmasked forward pass of a model of a known family, and the four families that are known from the start."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.extraction.execution.family_registry import FAMILIES, ModelFamily, register_family
from rankwatch.extraction.inputs.call_arguments import named_arguments
from rankwatch.extraction.model.block_stacks import is_teacher_path
from rankwatch.extraction.model.conventions import NEMO, TORCHAUDIO, TRANSFORMERS, output_length_formula
from rankwatch.extraction.model.module_paths import clean_modules, comes_from, within

__all__ = ["Adapter", "register_family", "unmasked_call"]


@dataclass(frozen=True)
class Adapter:
    """An unmasked forward pass of a known model family.

    Attributes:
        name: What is called, for the table.
        module: The module of the family.
        run: Takes waveforms (B, T) and lengths (B,) int64 in samples, or None.
        transform: Takes a recorded call of the backbone (args, kwargs) and the batch behind it, and returns the same
            audio's unmasked forward pass as a function without arguments, or None where the audio isn't there.
    """

    name: str
    module: nn.Module
    run: Callable[[Tensor, Tensor | None], Any]
    transform: Callable[[Sequence[Any], Mapping[str, Any], Any], Callable[[], Any] | None]


def unmasked_call(backbone: nn.Module, root: nn.Module) -> Adapter | None:
    """The unmasked forward pass of the one model of a known family in or around a module.

    All families call modules, so that FSDP's hooks fire, in the mode that the caller has set: in train mode Hugging
    Face's models mask by their config.

    Args:
        backbone: The module whose calls are recorded.
        root: The whole model, searched where the backbone lies inside a known model.

    Returns:
        None for unknown families, and where there are several such models (a teacher apart).
    """
    for family in FAMILIES:
        model = _only(backbone, root, family.belongs)
        module = family.part(model) if model is not None else None
        if module is not None:
            return _adapter(family, module, backbone)
    return None


def _adapter(family: ModelFamily, module: nn.Module, backbone: nn.Module) -> Adapter:
    def run(waveforms: Tensor, lengths: Tensor | None = None) -> Any:
        return family.run(module, waveforms, lengths)

    def transform(args: Sequence[Any], kwargs: Mapping[str, Any], batch: Any) -> Callable[[], Any] | None:
        # Of a module of the user's own the names of the arguments say nothing.
        known = not family.package or comes_from(backbone, family.package)
        arguments = named_arguments(args, kwargs, backbone.forward) if known else {}
        return family.replay(module, arguments, batch)

    return Adapter(f"{family.name} {type(module).__name__.removeprefix('FSDP')}", module, run, transform)


def _only(backbone: nn.Module, root: nn.Module, belongs: Callable[[nn.Module], bool]) -> nn.Module | None:
    """The one outermost module of a family within the backbone or around it.

    Args:
        backbone: The module whose calls are recorded.
        root: The whole model.
        belongs: Whether a module is of the family.

    Returns:
        The module, which is no teacher and no frozen model that only makes targets; or None.
    """
    modules = clean_modules(backbone)
    paths = [path for path, module in modules.items() if belongs(module)]
    outer = [path for path in paths if not any(other != path and within(path, other) for other in paths)]
    if "" not in outer:
        outer = [path for path in outer if any(p.requires_grad for p in modules[path].parameters())]
    students = [path for path in outer if not is_teacher_path(path)] or outer
    if students:
        return modules[students[0]] if len(students) == 1 else None
    around = [module for module in root.modules() if belongs(module) and backbone in set(module.modules())]
    return around[0] if around else None


# -- torchaudio: `HuBERTPretrainModel` masks in eval mode too, so its `wav2vec2`, which doesn't, is called instead ---


def _is_torchaudio(module: nn.Module) -> bool:
    return (
        comes_from(module, TORCHAUDIO)
        and callable(getattr(module, "extract_features", None))
        and hasattr(module, "feature_extractor")
    )


def _run_torchaudio(model: Any, waveforms: Tensor, lengths: Tensor | None) -> Any:
    # torchaudio's WavLM asserts that there is no attention mask, so it sees the padding.
    takes_lengths = not any(type(module).__name__ == "WavLMSelfAttention" for module in model.modules())
    return model(waveforms, lengths if takes_lengths else None)


def _replay_torchaudio(model: Any, arguments: Mapping[str, Any], batch: Any) -> Callable[[], Any] | None:
    waveforms = arguments.get("waveforms")
    lengths = arguments.get("audio_lengths", arguments.get("lengths"))
    return (lambda: _run_torchaudio(model, waveforms, lengths)) if isinstance(waveforms, Tensor) else None


# -- Hugging Face: the base model without `mask_time_indices` ---------------------------------------------------------


def _is_transformers(module: nn.Module) -> bool:
    known = output_length_formula(module) is not None and hasattr(module, "base_model")
    return known and comes_from(module, TRANSFORMERS)


def _transformers_base(model: Any) -> nn.Module | None:
    base: Any = getattr(model, "base_model", None)
    return base if base is not None and {"input_values", "attention_mask"} <= _argument_names(base) else None


def _run_transformers(base: Any, waveforms: Tensor, lengths: Tensor | None) -> Any:
    mask = None
    if lengths is not None:
        positions = torch.arange(waveforms.shape[1], device=waveforms.device)
        mask = (positions < lengths.to(waveforms.device)[:, None]).long()
    return base(input_values=waveforms, attention_mask=mask)


def _replay_transformers(base: Any, arguments: Mapping[str, Any], batch: Any) -> Callable[[], Any] | None:
    waveforms, mask = arguments.get("input_values"), arguments.get("attention_mask")
    if not isinstance(waveforms, Tensor):
        return None
    return lambda: base(input_values=waveforms, attention_mask=mask)


# -- NVIDIA NeMo: the preprocessor and the encoder --------------------------------------------------------------------


def _is_nemo(module: nn.Module) -> bool:
    """By its parts and by the names of its arguments: `preprocessor`, `encoder`, `input_signal` ..."""
    parts = {"preprocessor": {"input_signal", "length"}, "encoder": {"audio_signal", "length"}}
    return {"input_signal", "input_signal_length"} <= _argument_names(module) and all(
        names <= _argument_names(getattr(module, part, None)) for part, names in parts.items()
    )


def _argument_names(module: Any) -> set[str]:
    return set(inspect.signature(module.forward).parameters) if isinstance(module, nn.Module) else set()


def _encode_nemo(model: Any, features: Tensor, frames: Tensor) -> Any:
    # Masks are put on between the two, or behind the subsampling; whoever runs this restores the switch.
    masking: Any = getattr(model, "pre_encoder", None)
    if hasattr(masking, "set_masking_enabled"):
        masking.set_masking_enabled(apply_mask=False)
    return model.encoder(audio_signal=features, length=frames)


def _run_nemo(model: Any, waveforms: Tensor, lengths: Tensor | None) -> Any:
    if lengths is None:
        lengths = torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
    return _encode_nemo(model, *model.preprocessor(input_signal=waveforms, length=lengths))


def _replay_nemo(model: Any, arguments: Mapping[str, Any], batch: Any) -> Callable[[], Any] | None:
    signal, lengths = _nemo_signal(batch)
    if not isinstance(signal, Tensor) or not isinstance(lengths, Tensor) or not _are_lengths(lengths, signal):
        return None
    # Three axes are features: the loader has preprocessed already.
    run = _encode_nemo if signal.ndim == 3 else _run_nemo
    return lambda: run(model, signal, lengths)


def _nemo_signal(batch: Any) -> tuple[Any, Any]:
    """What the encoder hears, and its lengths: of NEST's batches the noisy audio, of tuples the first two entries."""
    for name in ("noisy_audio", "audio"):
        signal, lengths = (_field(batch, field) for field in (name, f"{name}_len"))
        if signal is not None:
            return signal, lengths
    return (batch[0], batch[1]) if isinstance(batch, (tuple, list)) and len(batch) >= 2 else (None, None)


def _are_lengths(lengths: Tensor, signal: Tensor) -> bool:
    whole = not (lengths.is_floating_point() or lengths.is_complex())
    return whole and lengths.shape == signal.shape[:1] and bool((lengths <= signal.shape[-1]).all())


def _field(batch: Any, name: str) -> Any:
    return batch.get(name) if isinstance(batch, Mapping) else getattr(batch, name, None)


# -- ESPnet: `ESPnetSSLModel` masks in eval mode too, so its `inference_encode`, which doesn't, is called instead ------


def _is_espnet(module: nn.Module) -> bool:
    """By what `forward` and `inference_encode` take."""
    names, encode = {"speech", "speech_lengths"}, getattr(module, "inference_encode", None)
    return names <= _argument_names(module) and callable(encode) and names <= set(inspect.signature(encode).parameters)


def _run_espnet(model: Any, waveforms: Tensor, lengths: Tensor | None) -> Any:
    if lengths is None:
        lengths = torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
    return model.inference_encode(waveforms, lengths)


def _replay_espnet(model: Any, arguments: Mapping[str, Any], batch: Any) -> Callable[[], Any] | None:
    speech, lengths = arguments.get("speech"), arguments.get("speech_lengths")
    known = isinstance(speech, Tensor) and isinstance(lengths, Tensor)
    return (lambda: model.inference_encode(speech, lengths)) if known else None


register_family("ESPnet's", belongs=_is_espnet, run=_run_espnet, replay=_replay_espnet)
register_family("NeMo's", belongs=_is_nemo, run=_run_nemo, replay=_replay_nemo, package=NEMO)
register_family(
    "Hugging Face's",
    belongs=_is_transformers,
    run=_run_transformers,
    replay=_replay_transformers,
    part=_transformers_base,
    package=TRANSFORMERS,
)
register_family(
    "torchaudio's", belongs=_is_torchaudio, run=_run_torchaudio, replay=_replay_torchaudio, package=TORCHAUDIO
)
