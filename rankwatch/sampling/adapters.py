"""How a probe batch is run through a model: unmasked in known families, else by its own captured call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.sampling.candidates import Candidate, as_candidate, is_foreign, named_arguments, walk
from rankwatch.sampling.paths import clean_modules, comes_from, within
from rankwatch.sampling.stacks import is_teacher_path

_TORCHAUDIO = "torchaudio.models.wav2vec2"
_TRANSFORMERS = "transformers."


@dataclass(frozen=True)
class Adapter:
    """An unmasked forward pass of a known model family.

    Attributes:
        name: What is called, for the table.
        module: The module of the family.
        run: Takes waveforms (B, T) and lengths (B,) int64 in samples, or None.
        transform: Takes a captured call of the backbone (args, kwargs) and gives the same audio's unmasked
            forward pass as a function without arguments, or None where the audio isn't in the call.
    """

    name: str
    module: nn.Module
    run: Callable[[Tensor, Tensor | None], Any]
    transform: Callable[[Sequence[Any], Mapping[str, Any]], Callable[[], Any] | None]


def unmasked_call(backbone: nn.Module, root: nn.Module) -> Adapter | None:
    """The unmasked forward pass of torchaudio's and Hugging Face's wav2vec2 families.

    torchaudio's `HuBERTPretrainModel` masks in eval mode too, so its `wav2vec2`, which doesn't, is called
    instead; Hugging Face's base model is called without `mask_time_indices`. Both as modules, so that FSDP's
    hooks fire, and in the mode that the caller has set: in train mode Hugging Face masks by its config.

    Args:
        backbone: The module whose calls are captured.
        root: The whole model, searched where the backbone lies inside a known model.

    Returns:
        None for unknown families, and where there are several such models (a teacher apart).
    """
    return _torchaudio(backbone, root) or _transformers(backbone, root)


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

    def transform(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Callable[[], Any] | None:
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

    def transform(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Callable[[], Any] | None:
        if not comes_from(backbone, _TRANSFORMERS):
            return None
        call = named_arguments(args, kwargs, backbone.forward)
        waveforms, mask = call.get("input_values"), call.get("attention_mask")
        if not isinstance(waveforms, Tensor):
            return None
        return lambda: base(input_values=waveforms, attention_mask=mask)

    return Adapter(f"Hugging Face's {_class_name(base)}", base, run, transform)


def substitute(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    waveforms: Tensor,
    lengths: Tensor | None,
    signature: Callable[..., Any] | inspect.Signature | None = None,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A captured call with other audio: its waveforms and their lengths or mask exchanged, all else kept.

    Args:
        args: Positional arguments of the captured call.
        kwargs: Its keyword arguments.
        waveforms: (B', T') new audio.
        lengths: (B',) samples of each, or None if all are whole.
        signature: The backbone's forward pass or its signature, for names.

    Returns:
        New (args, kwargs). Counts, fractions and masks keep their dtype, a mask its polarity.

    Raises:
        ValueError: No single waveform tensor (B, T) or (B, 1, T) is in the call, or further tensors of its
            batch size, which can't be made for other audio; they are named.

    Example:
        >>> call = (torch.zeros(2, 800), torch.tensor([800, 500]))
        >>> (audio, lengths), _ = substitute(call, {}, torch.ones(3, 90), torch.tensor([90, 80, 70]))
        >>> audio.shape, lengths.tolist()
        (torch.Size([3, 90]), [90, 80, 70])
    """
    leaves = [(path, leaf) for path, leaf in walk(named_arguments(args, kwargs, signature)) if _is_tensor(leaf)]
    audio = [(path, leaf) for path, leaf in leaves if _is_mono(leaf)]
    if len(audio) > 1:
        audio = [(path, leaf) for path, leaf in audio if not bool(((leaf == 0) | (leaf == 1)).all())]
    if len({id(leaf) for _, leaf in audio}) != 1:
        found = ", ".join(f"{path} {tuple(leaf.shape)}" for path, leaf in audio) or "none"
        raise ValueError(f"expected one waveform tensor (B, T) in the backbone's call, found: {found}. {_ADVICE}")
    old = audio[0][1]
    full = torch.full((len(waveforms),), waveforms.shape[1], dtype=torch.int64, device=waveforms.device)
    given = full if lengths is None else lengths.to(waveforms.device)
    new: dict[int, Any] = {id(old): waveforms.reshape(len(waveforms), *old.shape[1:-1], -1).to(old.dtype)}
    others = []
    for path, leaf in leaves:
        if leaf is old or leaf.shape[:1] != old.shape[:1]:
            continue
        candidate = None if is_foreign(path) else as_candidate(leaf, len(old), "argument", path)
        value = None if candidate is None else _same_form(candidate, leaf, old, given, waveforms.shape[1])
        if value is None:
            others.append(f"{path} {tuple(leaf.shape)}")
        else:
            new[id(leaf)] = value
    if others:
        named = ", ".join(others)
        raise ValueError(f"the backbone's call has tensors that no other audio fits: {named}. {_ADVICE}")
    return tuple(_exchange(list(args), new)), {name: _exchange(value, new) for name, value in kwargs.items()}


_ADVICE = "Pass probe_forward=..., a function of (module, batch)."


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.ndim > 0


def _is_mono(leaf: Tensor) -> bool:
    mono = leaf.ndim == 2 or (leaf.ndim == 3 and leaf.shape[1] == 1)
    return leaf.is_floating_point() and mono and leaf.shape[-1] > 1


def _same_form(candidate: Candidate, leaf: Tensor, old: Tensor, lengths: Tensor, axis: int) -> Tensor | None:
    """The new lengths as counts, fractions or a mask, like the old ones; None if those weren't of samples."""
    samples = old.shape[-1]
    if candidate.unit == "fraction":
        return (lengths.double() / max(int(lengths.max()), 1)).to(leaf).reshape(-1, *leaf.shape[1:])
    if candidate.unit == "integer":
        return lengths.to(leaf).reshape(-1, *leaf.shape[1:]) if int(candidate.values.max()) == samples else None
    if candidate.axis != samples:
        return None
    valid = torch.arange(axis, device=lengths.device) < lengths[:, None]
    row = int(candidate.values.argmax())
    return (valid == bool(leaf[row, 0])).to(leaf)


def _exchange(thing: Any, new: Mapping[int, Any]) -> Any:
    if id(thing) in new:
        return new[id(thing)]
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return type(thing)(*(_exchange(entry, new) for entry in thing))
    if isinstance(thing, (tuple, list)):
        return type(thing)(_exchange(entry, new) for entry in thing)
    if isinstance(thing, dict):
        return {key: _exchange(value, new) for key, value in thing.items()}
    return thing
