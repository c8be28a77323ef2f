"""What a layer returned: its hidden states, its lengths if it gave them, and the layout of its axes."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.extraction.model.module_paths import unwrap
from rankwatch.extraction.valid_frames.input_axes import InputAxes
from rankwatch.extraction.valid_frames.layouts import TOKENS, Surroundings, by_habit, fitting_layouts, layer_widths

_HIDDEN_KEYS = ("last_hidden_state", "encoder_out", "hidden_states", "x", "features", "output")


class OutputError(ValueError):
    """A layer returned something in which no hidden states could be found."""


class LayoutError(ValueError):
    """It is not known which axis of a layer's output is which."""


def unpack(output: Any) -> tuple[Tensor, Tensor | None]:
    """Hidden states and, where the module gives them, valid lengths, from whatever a module returned.

    Args:
        output: A tensor (a nested one, or a packed sequence, is padded with zeros; its sizes are the lengths), a tuple
            such as
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
    if isinstance(output, PackedSequence):
        return pad_packed_sequence(output, batch_first=True)
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
    frames: Collection[int] = (),
    axes: InputAxes | None = None,
    time_first: bool | None = None,
    known: str | None = None,
    said: str | None = None,
) -> tuple[Tensor, str]:
    """Hidden states as (B, T, C), whatever the module's own layout.

    Evidence, in this order: what the user says; the batch size; the width that the module's own parameters name; the
    expected frames; of four axes the order in another layer, then those of the input, which are shortened alike and
    seldom change their order; the layout found earlier; habits (Hugging Face and torchaudio's wav2vec2 have the batch
    first, attention and recurrent layers have their `batch_first`, layer norm or a linear map at the end of a block
    works on the last axis).

    Args:
        hidden: (B, T, C), (B, C, T) or (T, B, C), or an image's (B, C, F, T), (B, C, T, F), (B, F, T, C) or
            (B, T, F, C), whose channels and bands together become columns.
        batch_size: B, utterances in this forward pass.
        layer: Where it comes from.
        frames: Values that T may have, known from other layers or from the input.
        axes: Which axis of the input is time, if that is known.
        time_first: Whether time comes before the bands in another layer of four axes, if there is one.
        known: A layout found for this layer before, used where this output alone could be several.
        said: The layout that the user gives for this layer, which needs no evidence.

    Returns:
        The tensor as (B, T, C) (a view, except for four axes) and the layout found, for example
        ``"(B, C, T)"``.

    Raises:
        LayoutError: No layout fits, or several do; says what was seen, and how to say which it is.

    Example:
        >>> from rankwatch.extraction.model.layers import find_layers
        >>> layer = find_layers(nn.Sequential(nn.TransformerEncoderLayer(16, 2)))[0]
        >>> hidden, layout = to_btc(torch.zeros(7, 3, 16), batch_size=3, layer=layer)
        >>> hidden.shape, layout
        (torch.Size([3, 7, 16]), '(T, B, C)')
    """
    if said is not None:
        return _as_said(hidden, batch_size, layer, said), said
    module = unwrap(layer.module)
    around = Surroundings(batch_size, frames, axes, time_first)
    layouts = fitting_layouts(hidden, module, layer.kind, around)
    if len(layouts) > 1:
        layouts = [known] if known in layouts else by_habit(layouts, module, layer.kind)
    if len(layouts) != 1:
        raise LayoutError(_unclear(hidden, layer, module, around, layouts))
    return _ordered(hidden, layouts[0]), layouts[0]


def _ordered(hidden: Tensor, layout: str) -> Tensor:
    axes = [axis for axis in layout if axis.isalpha()]
    time = axes.index("T") if "T" in axes else axes.index(TOKENS)
    order = [axes.index("B"), time, *(i for i, axis in enumerate(axes) if axis in "CF")]
    return hidden.permute(order).flatten(2)


def _as_said(hidden: Tensor, batch_size: int, layer: WatchedLayer, said: str) -> Tensor:
    axes = [axis for axis in said if axis.isalpha()]
    if hidden.ndim != len(axes) or hidden.shape[axes.index("B")] != batch_size:
        raise LayoutError(
            f"layer {layer.name!r}: output of shape {tuple(hidden.shape)} can't be {said}, as "
            f"RowSampling(layouts=...) says, with {batch_size} utterances in the batch"
        )
    return _ordered(hidden, said)


def _unclear(
    hidden: Tensor, layer: WatchedLayer, module: nn.Module, around: Surroundings, layouts: Sequence[str]
) -> str:
    widths = sorted(layer_widths(module, layer.kind)[1])
    found = f"could be {' or '.join(layouts)}" if layouts else "fits no known layout"
    expected = ", ".join(map(str, around.frames)) or "unknown"
    advice = ""
    if around.batch_size not in hidden.shape:
        advice = (
            "; none of its axes is the batch (packed utterances, or windows and patches that were folded into it?), so "
            "leave it out of layers, or watch a module around it that gives them back"
        )
    elif hidden.ndim in (3, 4):
        likely = layouts[0] if layouts else ("(B, C, F, T)" if hidden.ndim == 4 else "(B, T, C)")
        advice = (
            f"; say which it is by rows=RowSampling(layouts={{{layer.name!r}: {likely!r}}}), or leave it out of layers"
        )
    return (
        f"layer {layer.name!r}: output of shape {tuple(hidden.shape)} {found} (batch size {around.batch_size}, "
        f"widths in its parameters {widths or 'none'}, frames expected {expected}){advice}"
    )
