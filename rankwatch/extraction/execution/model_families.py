"""How an evaluation batch is run through a model: unmasked in known families, else by its own captured call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.extraction.inputs.call_arguments import named_arguments
from rankwatch.extraction.model.block_stacks import is_teacher_path
from rankwatch.extraction.model.module_paths import clean_modules, comes_from, within

_TORCHAUDIO = "torchaudio.models.wav2vec2"
_TRANSFORMERS = "transformers."


@dataclass(frozen=True)
class Adapter:
    """An unmasked forward pass of a known model family.

    Attributes:
        name: What is called, for the table.
        module: The module of the family.
        run: Takes waveforms (B, T) and lengths (B,) int64 in samples, or None.
        transform: Takes a captured call of the backbone (args, kwargs) and the batch behind it, and gives the same
            audio's unmasked forward pass as a function without arguments, or None where the audio isn't there.
    """

    name: str
    module: nn.Module
    run: Callable[[Tensor, Tensor | None], Any]
    transform: Callable[[Sequence[Any], Mapping[str, Any], Any], Callable[[], Any] | None]


def unmasked_call(backbone: nn.Module, root: nn.Module) -> Adapter | None:
    """The unmasked forward pass of torchaudio's and Hugging Face's wav2vec2 families, and of NVIDIA NeMo's models.

    torchaudio's `HuBERTPretrainModel` masks in eval mode too, so its `wav2vec2`, which doesn't, is called
    instead; Hugging Face's base model is called without `mask_time_indices`; of NeMo's models the preprocessor and
    the encoder. All as modules, so that FSDP's hooks fire, and in the mode that the caller has set: in train mode
    Hugging Face masks by its config.

    Args:
        backbone: The module whose calls are captured.
        root: The whole model, searched where the backbone lies inside a known model.

    Returns:
        None for unknown families, and where there are several such models (a teacher apart).
    """
    return _torchaudio(backbone, root) or _transformers(backbone, root) or _nemo(backbone, root)


def _only(backbone: nn.Module, root: nn.Module, belongs: Callable[[nn.Module], bool]) -> nn.Module | None:
    """The one outermost module of a family within the backbone or around it.

    Not a teacher, nor a frozen model that only makes targets.
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


def _class_name(module: nn.Module) -> str:
    return type(module).__name__.removeprefix("FSDP")


def _is_torchaudio(module: nn.Module) -> bool:
    return (
        comes_from(module, _TORCHAUDIO)
        and callable(getattr(module, "extract_features", None))
        and hasattr(module, "feature_extractor")
    )


def _torchaudio(backbone: nn.Module, root: nn.Module) -> Adapter | None:
    model: Any = _only(backbone, root, _is_torchaudio)
    if model is None:
        return None

    # torchaudio's WavLM asserts that there is no attention mask, so it sees the padding.
    takes_lengths = not any(type(m).__name__ == "WavLMSelfAttention" for m in model.modules())

    def run(waveforms: Tensor, lengths: Tensor | None = None) -> Any:
        return model(waveforms, lengths if takes_lengths else None)

    def transform(args: Sequence[Any], kwargs: Mapping[str, Any], batch: Any) -> Callable[[], Any] | None:
        if not comes_from(backbone, _TORCHAUDIO):
            return None
        call = named_arguments(args, kwargs, backbone.forward)
        waveforms = call.get("waveforms")
        lengths = call.get("audio_lengths", call.get("lengths"))
        return (lambda: run(waveforms, lengths)) if isinstance(waveforms, Tensor) else None

    return Adapter(f"torchaudio's {_class_name(model)}", model, run, transform)


def _is_transformers(module: nn.Module) -> bool:
    return (
        comes_from(module, _TRANSFORMERS)
        and hasattr(module, "base_model")
        and hasattr(module, "_get_feat_extract_output_lengths")
    )


def _transformers(backbone: nn.Module, root: nn.Module) -> Adapter | None:
    model = _only(backbone, root, _is_transformers)
    base: Any = getattr(model, "base_model", None)
    if base is None or "input_values" not in inspect.signature(base.forward).parameters:
        return None

    def run(waveforms: Tensor, lengths: Tensor | None = None) -> Any:
        mask = None
        if lengths is not None:
            positions = torch.arange(waveforms.shape[1], device=waveforms.device)
            mask = (positions < lengths.to(waveforms.device)[:, None]).long()
        return base(input_values=waveforms, attention_mask=mask)

    def transform(args: Sequence[Any], kwargs: Mapping[str, Any], batch: Any) -> Callable[[], Any] | None:
        if not comes_from(backbone, _TRANSFORMERS):
            return None
        call = named_arguments(args, kwargs, backbone.forward)
        waveforms, mask = call.get("input_values"), call.get("attention_mask")
        if not isinstance(waveforms, Tensor):
            return None
        return lambda: base(input_values=waveforms, attention_mask=mask)

    return Adapter(f"Hugging Face's {_class_name(base)}", base, run, transform)


def _is_nemo(module: nn.Module) -> bool:
    """By its parts and by the names of its arguments: `preprocessor`, `encoder`, `input_signal` ..."""
    parts = {"preprocessor": {"input_signal", "length"}, "encoder": {"audio_signal", "length"}}
    return {"input_signal", "input_signal_length"} <= _argument_names(module) and all(
        names <= _argument_names(getattr(module, part, None)) for part, names in parts.items()
    )


def _argument_names(module: Any) -> set[str]:
    return set(inspect.signature(module.forward).parameters) if isinstance(module, nn.Module) else set()


def _nemo(backbone: nn.Module, root: nn.Module) -> Adapter | None:
    model: Any = _only(backbone, root, _is_nemo)
    if model is None:
        return None

    def encode(features: Tensor, frames: Tensor) -> Any:
        # Masks are put on between the two, or behind the subsampling; whoever runs this restores the switch.
        masking: Any = getattr(model, "pre_encoder", None)
        if hasattr(masking, "set_masking_enabled"):
            masking.set_masking_enabled(apply_mask=False)
        return model.encoder(audio_signal=features, length=frames)

    def run(waveforms: Tensor, lengths: Tensor | None = None) -> Any:
        if lengths is None:
            lengths = torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
        return encode(*model.preprocessor(input_signal=waveforms, length=lengths))

    def transform(args: Sequence[Any], kwargs: Mapping[str, Any], batch: Any) -> Callable[[], Any] | None:
        signal, lengths = _nemo_signal(batch)
        if not isinstance(signal, Tensor) or not isinstance(lengths, Tensor) or not _are_lengths(lengths, signal):
            return None
        # Three axes are features: the loader has preprocessed already.
        return (lambda: encode(signal, lengths)) if signal.ndim == 3 else (lambda: run(signal, lengths))

    return Adapter(f"NeMo's {_class_name(model)}", model, run, transform)


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
