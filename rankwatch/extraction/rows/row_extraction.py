"""From the outputs of one forward pass to rows: layouts, lengths, drawing; each layer for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.extraction.rows.row_sampling import SampledRows, sample_frames, sample_rows
from rankwatch.extraction.valid_frames.layer_outputs import to_btc, unpack
from rankwatch.extraction.valid_frames.time_masks import TimeMask, mask_of, time_masks
from rankwatch.extraction.valid_frames.valid_lengths import LengthSpec, Observed, resolve_lengths


@dataclass(frozen=True)
class LayerFacts:
    """What was found out about a layer, for the table."""

    width: int
    layout: str
    lengths: str


class RowExtractor:
    """Turns outputs into rows.

    Args:
        layers: The watched layers, in model order.
        root: The whole model (its convolutions give the downsampling).
        levels: Wanted levels.
        per_utterance: Frames to draw from each utterance.
        lengths: ``"auto"``, ``"none"``, a dotted path into the batch, or a function of the batch.
        seed: Seed of the draw.
        frames: Which frames count where a mask over time is seen in the call: without ("unmasked"), under it, all.
    """

    def __init__(
        self,
        layers: Sequence[WatchedLayer],
        root: nn.Module,
        *,
        levels: Sequence[str],
        per_utterance: int,
        lengths: LengthSpec = "auto",
        seed: int = 0,
        frames: str = "unmasked",
    ) -> None:
        self._frames = frames
        self._layers = {layer.name: layer for layer in layers}
        self._root = root
        self._levels = tuple(levels)
        self._per_utterance = per_utterance
        self._spec = lengths
        self._seed = seed
        self.facts: dict[str, LayerFacts] = {}
        self.frames: str = "all"
        """Which frames counted in the last pass."""
        self.mask_note = ""
        """The mask that was seen, in words."""

    def rows(
        self,
        outputs: Mapping[str, Any],
        *,
        args: Any,
        kwargs: Any,
        batch: Any,
        keys: Tensor,
        used: int,
        forward: Callable[..., Any] | None = None,
        audio: bool = False,
        masked: bool = False,
    ) -> tuple[dict[str, SampledRows], dict[str, Exception]]:
        """Rows of every layer that could be read, and what went wrong with the others.

        Args:
            outputs: From `LayerHooks.take`.
            args: Arguments of the call that led to them, for the lengths.
            kwargs: Keyword arguments, likewise.
            batch: The loader's batch, likewise.
            keys: (B,) utterance keys.
            used: Only the first `used` utterances count.
            forward: What was called, for the names of its arguments.
            audio: The batch is (waveforms, lengths) of our own: the user's `lengths` means other batches.
            masked: The masks in the call, if there are any, were used.

        Where lengths can't be known, which concerns all layers, `AmbiguousLengths` is raised.

        Returns:
            Sampled rows, and the exceptions of the layers that could not be read, both by layer name.
        """
        failures: dict[str, Exception] = {}
        observed, layouts = self._observed(outputs, len(keys), failures)
        spec = "auto" if audio else self._spec
        valid = resolve_lengths(
            observed, args=args, kwargs=kwargs, batch=batch, spec=spec, root=self._root, forward=forward
        )
        masks: list[TimeMask] = []
        if masked and self._frames != "all":
            masks = time_masks(args, kwargs, batch, batch_size=len(keys), forward=forward)
        self.frames = "all"
        drawn: dict[str, SampledRows] = {}
        positions: dict[tuple[int, ...], list[Tensor]] = {}  # layers with as many frames share them
        for one in observed:
            name = one.layer.name
            try:
                frames = valid[name].frames[:used].clamp(max=one.hidden.shape[1])
                among = self._among(masks, one.hidden.shape[1], used)
                lengths = (one.hidden.shape[1], *frames.tolist())
                if lengths not in positions:
                    positions[lengths] = sample_frames(frames, keys[:used], self._per_utterance, self._seed, among)
                drawn[name] = sample_rows(
                    one.hidden[:used],
                    frames,
                    keys[:used],
                    per_utterance=self._per_utterance,
                    seed=self._seed,
                    levels=self._levels,
                    positions=positions[lengths],
                    among=among,
                )
                self.facts[name] = LayerFacts(one.hidden.shape[2], layouts[name], valid[name].source)
            except Exception as error:
                failures[name] = error
        return drawn, failures

    def _among(self, masks: Sequence[TimeMask], frames: int, used: int) -> Tensor | None:
        """The frames that count, or None for all."""
        mask = mask_of(masks, frames)
        if mask is None:
            return None
        self.frames = self._frames
        share = float(mask.masked.double().mean())
        self.mask_note = f"{mask.path} masks {share:.0%} of the frames: {self._frames} frames count"
        return mask.masked[:used] if self._frames == "masked" else ~mask.masked[:used]

    def _observed(
        self, outputs: Mapping[str, Any], batch_size: int, failures: dict[str, Exception]
    ) -> tuple[list[Observed], dict[str, str]]:
        """Outputs as (B, T, C); what can't be read goes into `failures`.

        Four-dimensional front ends come last: how many frames the blocks have tells their time axis.

        Returns:
            The outputs, and the layout of each by layer name.
        """
        observed: list[Observed] = []
        layouts: dict[str, str] = {}
        unpacked: dict[str, tuple[Tensor, Tensor | None]] = {}
        for name, output in outputs.items():
            try:
                unpacked[name] = unpack(output)
            except Exception as error:
                failures[name] = error
        for name in sorted(unpacked, key=lambda name: unpacked[name][0].ndim):
            hidden, lengths = unpacked[name]
            frames = observed[-1].hidden.shape[1] if hidden.ndim == 4 and observed else None
            known = self.facts[name].layout if name in self.facts else None
            try:
                layer = self._layers[name]
                hidden, layouts[name] = to_btc(hidden, batch_size=batch_size, layer=layer, frames=frames, known=known)
                observed.append(Observed(layer, hidden, lengths))
            except Exception as error:
                failures[name] = error
        return observed, layouts
