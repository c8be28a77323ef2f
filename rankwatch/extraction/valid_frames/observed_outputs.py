"""All layers' outputs of one forward pass as (B, T, C): what one of them shows about another, put together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from rankwatch.extraction.model.block_stacks import find_stacks
from rankwatch.extraction.model.compiled_modules import within_compiled
from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.extraction.model.module_paths import clean_modules, clean_name, unwrap
from rankwatch.extraction.valid_frames.input_axes import InputAxes
from rankwatch.extraction.valid_frames.layer_outputs import LayoutError, to_btc, unpack
from rankwatch.extraction.valid_frames.layouts import FOUR_AXES, TOKENS, fitting_part_first, time_is_first
from rankwatch.extraction.valid_frames.length_matching import Pass, visibly_padded
from rankwatch.extraction.valid_frames.time_masks import are_chosen
from rankwatch.extraction.valid_frames.token_grids import (
    TokenGrid,
    at_another_scale,
    grid_of,
    grid_of_rearranged,
    in_order_of_time,
    last_convolutions,
    patch_convolutions,
    tokens_behind,
    without_order,
)

_Unpacked = dict[str, tuple[Tensor, Tensor | None]]
_CHOSEN = "every token (a choice of the patches or frames, on which no lengths can be used)"


@dataclass(frozen=True)
class Observed:
    """One layer's output of one forward pass.

    Attributes:
        layer: Where it comes from.
        hidden: (B, T, C).
        lengths: What the module itself gave as lengths, or None.
        layout: How its axes stood, for the table.
        per_frame: Positions of one time: several where patches of a spectrogram are tokens.
        every: Why every position counts, in words; empty where lengths decide.
        added: Frames at the end that the model added inside of itself.
    """

    layer: WatchedLayer
    hidden: Tensor
    lengths: Tensor | None = None
    layout: str = ""
    per_frame: int = 1
    every: str = ""
    added: int = 0

    @property
    def frames(self) -> int:
        """Times of the layer, T without the other patches of the same time and without frames that were added."""
        return self.hidden.shape[1] // self.per_frame - self.added


class OutputReader:
    """Turns outputs as layers returned them into (B, T, C).

    Args:
        layers: The watched layers, in model order.
        root: The whole model.
        layouts: The layouts that the user says, by glob over layers.
    """

    def __init__(self, layers: Sequence[WatchedLayer], root: nn.Module, layouts: Mapping[str, str]) -> None:
        self._layers = {layer.name: layer for layer in layers}
        said = {clean_name(glob): layout for glob, layout in layouts.items()}
        self._said = {name: said[glob] for name in self._layers for glob in said if fnmatchcase(name, glob)}
        self._known: dict[str, str] = {}
        self._grids: dict[InputAxes, TokenGrid] = {}
        modules = clean_modules(root)
        front_ends = {one.front_end: modules[one.front_end] for one in find_stacks(modules) if one.front_end}
        inside = within_compiled(root.modules())
        bare = {} if any(layer.kind == "frontend" for layer in layers) else last_convolutions(front_ends)
        self.convolutions = [
            WatchedLayer(path, module, "other", "student", "")
            for path, module in {**patch_convolutions(front_ends), **bare}.items()
            if path not in self._layers and id(module) not in inside
        ]
        """Modules that have to be hooked as well, since their outputs show how patches lie, or how many frames are."""

    def read(
        self, outputs: Mapping[str, Any], around: Pass, failures: dict[str, Exception]
    ) -> tuple[list[Observed], list[str]]:
        """Every output that can be read; what can't goes into `failures`.

        Args:
            outputs: From `LayerHooks.take`.
            around: What else is known.
            failures: What was raised, by layer; is added to.

        Returns:
            The outputs, and sentences about layers whose layout has changed.
        """
        unpacked: _Unpacked = {}
        for name, output in outputs.items():
            try:
                unpacked[name] = self.unpack(name, output, around.size)
            except Exception as error:
                if name in self._layers:
                    failures[name] = error
        observed: list[Observed] = []
        changed: list[str] = []
        # Those of four axes come last: how many frames the blocks have tells their time axis. Of these the
        # model's first, which is most like the input, says in which order the axes of the others are.
        for name in sorted(
            (name for name in self._layers if name in unpacked), key=lambda name: unpacked[name][0].ndim
        ):
            try:
                one = self._one(name, *unpacked[name], around, observed)
            except Exception as error:
                failures[name] = error
                continue
            if self._known.setdefault(name, one.layout) != one.layout:
                changed.append(f"layer {name} was {self._known[name]} in another batch and is {one.layout} now")
            observed.append(one)
        return self._arranged(observed, unpacked, around, failures), changed

    def guess(self, observed: Sequence[Observed], around: Pass) -> str:
        """Says that the time axis of these layers is a guess.

        Args:
            observed: From `read`.
            around: What else is known of the pass.

        Returns:
            A sentence; empty where something told the axes apart, or where it makes no difference.
        """
        images = [one for one in observed if one.layout in FOUR_AXES or one.per_frame > 1]
        if around.axes is None or not around.axes.guessed or len(observed) > len(images):
            return ""
        if all(one.layer.name in self._said for one in images):
            return ""
        return (
            f"of the input's axes of {around.axes.time} and {around.axes.bands} the longer one was taken as time, as "
            "nothing told them apart; if it is the other one, say so by rows=RowSampling(layouts=...)"
        )

    def unpack(self, name: str, output: Any, size: int) -> tuple[Tensor, Tensor | None]:
        """Hidden states and lengths in what a layer has returned for `size` utterances, as they came."""
        layer = self._layers.get(name)
        return unpack(output if layer is None else fitting_part_first(output, unwrap(layer.module), layer.kind, size))

    def _one(
        self, name: str, hidden: Tensor, lengths: Tensor | None, around: Pass, others: Sequence[Observed]
    ) -> Observed:
        layer, said = self._layers[name], self._said.get(name)
        frames = [other.frames for other in others if other.layout not in FOUR_AXES]
        orders = [time_is_first(other.layout) for other in others if other.layout in FOUR_AXES]
        needs_axes = hidden.ndim == 4 or (hidden.ndim == 3 and len(set(hidden.shape)) < 3)
        btc, layout = to_btc(
            hidden,
            batch_size=around.size,
            layer=layer,
            frames=(frames if hidden.ndim == 4 else []) + (around.frames if needs_axes else []),
            axes=around.axes if needs_axes else None,
            time_first=orders[0] if orders else None,
            known=self._known.get(name),
            said=said,
        )
        every = f"every token, since layouts says {said}" if said is not None and TOKENS in said else ""
        return Observed(layer, btc, lengths, layout, every=every)

    def _arranged(
        self, observed: list[Observed], unpacked: _Unpacked, around: Pass, failures: dict[str, Exception]
    ) -> list[Observed]:
        """Tokens in the order of time, where they are patches; and those that are only a choice of what there is."""
        grid = self._grid(observed, unpacked, around)
        front = next((one for one in observed if one.layer.kind == "frontend"), None)
        whole = grid.time * grid.bands if grid is not None else front.frames if front is not None else None
        stages = {one.hidden.shape[1] for one in observed if one.layer.kind == "block"}
        merging = whole in stages and len(stages) > 1  # of a choice of patches all blocks have the same
        patches = self._patches(unpacked) if grid is None else None
        behind = tokens_behind(front.hidden, patches or whole or 0) if front is not None else 0
        arranged = []
        for one in observed:
            name = one.layer.name
            try:
                if name not in self._said and unpacked[name][0].ndim != 4:
                    one = (
                        _patch(one, patches, around, behind)
                        if patches
                        else _token(one, grid, whole, around, merging, behind)
                    )
                arranged.append(one)
            except LayoutError as error:
                failures[name] = error
        return arranged

    def _patches(self, unpacked: _Unpacked) -> int | None:
        """How many patches there are of both axes, where it isn't known which of them is time."""
        shapes = [unpacked[layer.name][0].shape for layer in self.convolutions if layer.name in unpacked]
        return next((shape[2] * shape[3] for shape in shapes if len(shape) == 4 and min(shape[2:]) > 1), None)

    def _grid(self, observed: list[Observed], unpacked: _Unpacked, around: Pass) -> TokenGrid | None:
        watched = [layer for layer in self._layers.values() if isinstance(unwrap(layer.module), nn.Conv2d)]
        for layer in (*self.convolutions, *watched):
            if layer.name in unpacked:
                grid = grid_of(unpacked[layer.name][0], unwrap(layer.module), around.axes, around.size)
                if grid is not None and around.axes is not None:
                    return self._grids.setdefault(around.axes, grid)
        for one in observed:
            if one.layer.kind == "frontend" and unpacked[one.layer.name][0].ndim == 3:
                grid = grid_of_rearranged(unwrap(one.layer.module), around.axes, one.hidden.shape[1], one.lengths)
                if grid is not None:
                    return grid
        # In the training pass nothing but layers is hooked.
        return self._grids.get(around.axes) if self._grids and around.axes is not None else None


def _patch(one: Observed, patches: int, around: Pass, behind: int) -> Observed:
    """A layer whose tokens are patches in an order that isn't known; then lengths can't be used."""
    tokens = without_order(one.hidden, patches, behind)
    if tokens is None:
        return one
    if any(it.named for it in around.candidates) or visibly_padded(around.inputs.audio, math.isqrt(patches)):
        raise LayoutError(
            f"layer {one.layer.name!r}: {patches} patches as tokens, but which axis of the input is time isn't known, "
            "so no lengths can be used; if every token counts, say so by "
            f"rows=RowSampling(layouts={{{one.layer.name!r}: '(B, N, C)'}}), or leave it out of layers"
        )
    return Observed(one.layer, tokens.hidden, None, tokens.layout, every="every patch")


def _token(
    one: Observed, grid: TokenGrid | None, whole: int | None, around: Pass, merging: bool, behind: int
) -> Observed:
    if grid is not None and merging and one.hidden.shape[1] != whole:
        grid = at_another_scale(grid, one.hidden.shape[1]) or grid
    tokens = in_order_of_time(one.hidden, grid, behind) if grid is not None else None
    if tokens is not None:
        return Observed(one.layer, tokens.hidden, None, tokens.layout, tokens.per_frame)
    count = one.hidden.shape[1]
    if whole is None or count >= whole or (one.layer.kind == "frontend" and grid is None):
        return one
    is_time = grid is not None and grid.bands > 1 and count == grid.time  # bands were flattened into channels
    patches = grid is not None and grid.bands > 1 and not is_time
    if patches or are_chosen(count, whole, around.call, around.size):
        return Observed(one.layer, one.hidden, None, one.layout, every=_CHOSEN)
    return one
