"""What a layer returned: its hidden states, its lengths if it gave them, and the layout of its axes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.extraction.model.conventions import front_end_layouts, has_batch_first
from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.extraction.model.module_paths import unwrap

_HIDDEN_KEYS = ("last_hidden_state", "encoder_out", "hidden_states", "x", "features", "output")


class OutputError(ValueError):
    """A layer returned something in which no hidden states could be found."""


class LayoutError(ValueError):
    """It is not known which axis of a layer's output is which."""


def unpack(output: Any) -> tuple[Tensor, Tensor | None]:
    """Hidden states and, where the module gives them, valid lengths, from whatever a module returned.

    Args:
        output: A tensor (a nested one is padded with zeros, its sizes are the lengths), a tuple such as
            ``(x, None)``, ``(x, attention)``, ``(x, lengths)``, ``((x, positions), mask)``, or a mapping or
            dataclass with ``last_hidden_state`` or just one tensor of three or more axes.

    Returns:
        The hidden states, as they came, and an integer (B,) tensor or None. A boolean (B, T) or (B, 1, T)
        mask with contiguous valid prefixes counts as lengths.

    Raises:
        OutputError: Nothing floating-point with at least two axes is there; says what came.

    Example:
        >>> hidden, lengths = unpack((torch.zeros(2, 5, 4), torch.tensor([5, 3])))
        >>> hidden.shape, lengths.tolist()
        (torch.Size([2, 5, 4]), [5, 3])
    """
    if isinstance(output, Tensor):
        return _from_tensor(output)
    if dataclasses.is_dataclass(output) and not isinstance(output, (type, Mapping)):
        output = {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    elif isinstance(output, tuple) and hasattr(output, "_asdict"):
        output = output._asdict()
    if isinstance(output, Mapping):
        return _from_mapping(output)
    if isinstance(output, (tuple, list)) and len(output) > 0:
        hidden, lengths = unpack(output[0])
        return hidden, lengths if lengths is not None else _own_lengths(output[1:], hidden)
    raise OutputError(f"expected hidden states, but the layer returned {_describe(output)}")


def _from_tensor(output: Tensor) -> tuple[Tensor, Tensor | None]:
    if not output.is_floating_point():
        raise OutputError(f"expected floating-point hidden states, but the layer returned {_describe(output)}")
    if output.is_nested:
        lengths = torch.tensor([part.shape[0] for part in output.unbind()])
        return torch.nested.to_padded_tensor(output, 0.0), lengths
    if output.ndim < 2:
        raise OutputError(f"expected hidden states, but the layer returned {_describe(output)}")
    return output, None


def _from_mapping(output: Mapping[Any, Any]) -> tuple[Tensor, Tensor | None]:
    wide = [key for key, value in output.items() if _is_hidden(value)]
    named = [key for key in _HIDDEN_KEYS if key in wide]
    if not named and len(wide) != 1:
        raise OutputError(f"expected one tensor of hidden states, but the layer returned {_describe(output)}")
    key = (named or wide)[0]
    hidden, lengths = unpack(output[key])
    others = [value for other, value in output.items() if other != key]
    return hidden, lengths if lengths is not None else _own_lengths(others, hidden)


def _is_hidden(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 3


def _own_lengths(others: Sequence[Any], hidden: Tensor) -> Tensor | None:
    """An integer vector, or a boolean prefix mask, that goes with one of the first two axes."""
    for value in others:
        if not isinstance(value, Tensor) or value.is_nested:
            continue
        if value.ndim == 1 and len(value) in hidden.shape[:2] and _is_integer(value):
            return value
        mask = value.squeeze(1) if value.ndim == 3 and value.shape[1] == 1 else value
        if mask.dtype == torch.bool and mask.ndim == 2 and mask.shape[0] in hidden.shape[:2]:
            lengths = _prefix_lengths(mask)
            if lengths is not None:
                return lengths
    return None


def _is_integer(value: Tensor) -> bool:
    return not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)


def _prefix_lengths(mask: Tensor) -> Tensor | None:
    """Lengths of valid prefixes, if all rows start with one and the same value and change at most once."""
    if mask.shape[1] == 0:
        return None
    first = mask[:, :1]
    inside = mask == first
    if not bool((first == first[0]).all()) or bool((inside[:, 1:] & ~inside[:, :-1]).any()):
        return None
    return inside.sum(dim=1)


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key}: {_describe(entry)}" for key, entry in value.items())
        return f"a {type(value).__name__} with {inside or 'nothing in it'}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of ({', '.join(_describe(entry) for entry in value)})"
    return "None" if value is None else f"a {type(value).__name__}"


def to_btc(
    hidden: Tensor,
    *,
    batch_size: int,
    layer: WatchedLayer,
    frames: int | None = None,
    known: str | None = None,
) -> tuple[Tensor, str]:
    """Hidden states as (B, T, C), whatever the module's own layout.

    Evidence, in this order: the batch size; the width that the module's own parameters name; the expected
    frames; the layout found earlier; habits (Hugging Face and torchaudio's wav2vec2 have the batch first,
    attention has its `batch_first`, layer norm or a linear map at the end of a block works on the last axis).

    Args:
        hidden: (B, T, C), (B, C, T) or (T, B, C), or a convolution's (B, C, F, T), (B, C, T, F) or
            (B, T, F, C), whose channels and bands together become columns.
        batch_size: B, utterances in this forward pass.
        layer: Where it comes from.
        frames: T, if known from another layer; needed for four axes.
        known: A layout found for this layer before, used where this output alone could be several.

    Returns:
        The tensor as (B, T, C) (a view, except for four axes) and the layout found, for example
        ``"(B, C, T)"``.

    Raises:
        LayoutError: No layout fits, or several do; says what was seen.

    Example:
        >>> from rankwatch.extraction.model.layers import find_layers
        >>> layer = find_layers(nn.Sequential(nn.TransformerEncoderLayer(16, 2)))[0]
        >>> hidden, layout = to_btc(torch.zeros(7, 3, 16), batch_size=3, layer=layer)
        >>> hidden.shape, layout
        (torch.Size([3, 7, 16]), '(T, B, C)')
    """
    module = unwrap(layer.module)
    likely, possible = _widths(module, layer.kind)
    find = _four_axes if hidden.ndim == 4 else _three_axes
    layouts = find(hidden, batch_size, likely, frames) or find(hidden, batch_size, possible, frames)
    if len(layouts) > 1:
        layouts = [known] if known in layouts else _by_habit(layouts, module, layer.kind)
    if len(layouts) != 1:
        found = f"could be {' or '.join(layouts)}" if layouts else "fits no known layout"
        expected = "unknown" if frames is None else str(frames)
        raise LayoutError(
            f"layer {layer.name!r}: output of shape {tuple(hidden.shape)} {found} (batch size {batch_size}, "
            f"widths in its parameters {sorted(possible) or 'none'}, frames expected {expected})"
        )
    axes = [axis for axis in layouts[0] if axis.isalpha()]
    order = [axes.index("B"), axes.index("T"), *(i for i, axis in enumerate(axes) if axis in "CF")]
    return hidden.permute(order).flatten(2), layouts[0]


def _widths(module: nn.Module, kind: str) -> tuple[set[int], set[int]]:
    """Widths that the output has likely, and possibly, by the module's parameters.

    A block is as wide as its norms and its attention, a front end as its last convolution.

    Returns:
        The likely ones and the possible ones.
    """
    norms: set[int] = set()
    matrices: set[int] = set()
    convolutions: list[int] = []
    for child in module.modules():
        if isinstance(child, nn.LayerNorm):
            norms.add(child.normalized_shape[-1])
        elif isinstance(child, nn.MultiheadAttention):
            norms.add(child.embed_dim)
        elif type(child).__name__.endswith("RMSNorm"):
            norms.update(p.shape[-1] for p in child.parameters(recurse=False))
        elif isinstance(child, nn.Linear):
            matrices.add(child.out_features)
        elif isinstance(child, (nn.Conv1d, nn.Conv2d)):
            convolutions.append(child.out_channels)
    possible = norms | matrices | set(convolutions)
    if kind == "frontend" and convolutions:
        return {convolutions[-1], *matrices}, possible
    return norms or possible, possible


def _three_axes(hidden: Tensor, batch_size: int, widths: set[int], frames: int | None) -> list[str]:
    if hidden.ndim != 3:
        return []
    sizes = {"(B, T, C)": (0, 1, 2), "(B, C, T)": (0, 2, 1), "(T, B, C)": (1, 0, 2)}
    fits = [name for name, (b, _, _) in sizes.items() if hidden.shape[b] == batch_size]
    if widths:
        fits = [name for name in fits if hidden.shape[sizes[name][2]] in widths]
    if frames is not None and len(fits) > 1:
        fits = [name for name in fits if hidden.shape[sizes[name][1]] == frames] or fits
    return fits


def _by_habit(layouts: list[str], module: nn.Module, kind: str) -> list[str]:
    """Narrow down by what is known of the family, of attention inside, and of the module's last step."""
    if kind == "frontend":
        layouts = [name for name in layouts if name.startswith("(B")] or layouts
        usual = front_end_layouts(module)
        layouts = [name for name in layouts if all(name == layout for layout in usual)] or layouts
    first = {m.batch_first for m in module.modules() if isinstance(m, nn.MultiheadAttention)}
    first = {True} if has_batch_first(module) else first
    if len(first) == 1:
        layouts = [name for name in layouts if name.startswith("(B" if True in first else "(T")] or layouts
    leaves = [m for m in module.modules() if not list(m.children()) and list(m.parameters())]
    if kind == "block" and leaves and type(leaves[-1]) in (nn.LayerNorm, nn.Linear):
        layouts = [name for name in layouts if name.endswith("C)")] or layouts
    return layouts


def _four_axes(hidden: Tensor, batch_size: int, widths: set[int], frames: int | None) -> list[str]:
    """Only the time axis matters: bands and channels are flattened together."""
    if hidden.shape[0] != batch_size:
        return []
    sizes = {"(B, C, F, T)": (1, 3), "(B, C, T, F)": (1, 2), "(B, T, F, C)": (3, 1)}
    fits = [name for name, (c, _) in sizes.items() if hidden.shape[c] in widths or not widths]
    if frames is not None:
        fits = [name for name in fits if hidden.shape[sizes[name][1]] == frames]
    if len({sizes[name][1] for name in fits}) == 1:
        return fits[:1]
    return fits
