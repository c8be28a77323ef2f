"""From the outputs of one forward pass to rows: layouts, lengths, drawing; each layer for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from rankwatch.extraction.inputs.call_arguments import named_arguments
from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.extraction.rows.row_sampling import DrawnFrames, SampledRows, draw_frames, sample_rows
from rankwatch.extraction.taps.layer_taps import LayerTaps
from rankwatch.extraction.valid_frames.length_candidates import input_candidates
from rankwatch.extraction.valid_frames.length_matching import Pass, frames_of_convolutions, inputs_of
from rankwatch.extraction.valid_frames.observed_outputs import OutputReader
from rankwatch.extraction.valid_frames.time_masks import TimeMask, mask_of, time_masks
from rankwatch.extraction.valid_frames.valid_lengths import LengthSpec, resolve_lengths


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
        brief_frames: Frames to draw from each utterance of a brief reading.
        lengths: ``"auto"``, ``"none"``, a dotted path into the batch, or a function of the batch.
        seed: Seed of the draw.
        frames: Which frames count where a mask over time is seen in the call: without ("unmasked"), under it, all.
        layouts: The layouts that the user says, by glob over layers.
    """

    def __init__(
        self,
        layers: Sequence[WatchedLayer],
        root: nn.Module,
        *,
        levels: Sequence[str],
        per_utterance: int,
        brief_frames: int | None = None,
        lengths: LengthSpec = "auto",
        seed: int = 0,
        frames: str = "unmasked",
        layouts: Mapping[str, str] | None = None,
    ) -> None:
        self._frames = frames
        self._layers = {layer.name: layer for layer in layers}
        self._root = root
        self._levels = tuple(levels)
        self._per_utterance = per_utterance
        self._brief_frames = brief_frames or per_utterance
        self._spec = lengths
        self._seed = seed
        self.reader = OutputReader(layers, root, layouts or {})
        self.taps = LayerTaps()
        self.facts: dict[str, LayerFacts] = {}
        self.changes: dict[str, None] = {}
        """What was otherwise in one batch than in another, in sentences, in the order in which it was seen."""
        self.frames: str = "all"
        """Which frames counted in the last pass."""
        self.mask_note = ""
        """The mask that was seen, in words."""
        self.axes_note = ""
        """That the time axis of the input is a guess, where it is one that mattered."""

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
        brief: int = 0,
        levels: Sequence[str] | None = None,
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
            brief: So many utterances at the start belong to the sample of a brief reading as well.
            levels: Which levels are wanted this time; all by default.

        Where lengths can't be known, which concerns all layers, `AmbiguousLengths` is raised.

        Returns:
            Sampled rows, and the exceptions of the layers that could not be read, both by layer name.
        """
        failures: dict[str, Exception] = {}
        found = input_candidates(args, kwargs, batch, batch_size=len(keys), forward=forward)
        front_ends = [layer.module for layer in self._layers.values() if layer.kind == "frontend"]
        inputs = inputs_of(args, kwargs, batch, len(keys), self._root, front_ends)
        inputs = replace(inputs, unwatched=frames_of_convolutions(self.reader.convolutions, outputs))
        call = (named_arguments(args, kwargs, forward, defaults=True), batch)
        around = Pass(len(keys), inputs, found, call)
        observed, changed = self.reader.read(outputs, around, failures)
        self.axes_note = self.axes_note or self.reader.guess(observed, around)
        spec = "auto" if audio else self._spec
        valid = resolve_lengths(observed, found, inputs, batch=batch, spec=spec)
        self.changes.update(dict.fromkeys(changed))
        masks: list[TimeMask] = []
        if masked and self._frames != "all":
            masks = time_masks(args, kwargs, batch, batch_size=len(keys), forward=forward)
            if not masks and not self.mask_note:  # another set may have had one
                self.mask_note = "no mask over time was seen in the model's call, so all frames count"
        self.frames = "all"
        drawn: dict[str, SampledRows] = {}
        shared: dict[tuple[int, ...], DrawnFrames] = {}  # by layers with as many frames, masked alike
        for one in observed:
            name = one.layer.name
            try:
                frames = valid[name].frames[:used].clamp(max=one.hidden.shape[1])
                whole = one.hidden.shape[1] - valid[name].added  # the frames that a mask is drawn over
                among = self._among(masks, whole, used) if one.per_frame == 1 and not one.every else None
                lengths = (int(among is None), one.hidden.shape[1], *frames.tolist())
                if lengths not in shared:
                    shared[lengths] = self._draw(frames, keys[:used], brief, among)
                drawn[name] = sample_rows(
                    one.hidden[:used],
                    frames,
                    keys[:used],
                    per_utterance=self._per_utterance,
                    seed=self._seed,
                    levels=self._levels if levels is None else levels,
                    drawn=shared[lengths],
                    among=among,
                )
                self._note(name, LayerFacts(one.hidden.shape[2], one.layout, valid[name].source))
            except Exception as error:
                failures[name] = error
        return drawn, failures

    def _draw(self, frames: Tensor, keys: Tensor, brief: int, among: Tensor | None) -> DrawnFrames:
        count, more = self._per_utterance, self._brief_frames
        return draw_frames(frames, keys, count, brief=brief, brief_count=more, seed=self._seed, among=among)

    def _note(self, name: str, facts: LayerFacts) -> None:
        """Facts of the last batch; where lengths came from elsewhere than in the first, that is worth a sentence."""
        before = self.facts.get(name)
        if before is not None and _kind(before.lengths) != _kind(facts.lengths):
            self.changes[
                f"lengths of {name} come from {before.lengths} in one batch and from {facts.lengths} in another"
            ] = None
        self.facts[name] = facts

    def _among(self, masks: Sequence[TimeMask], frames: int, used: int) -> Tensor | None:
        """The frames that count, or None for all."""
        mask = mask_of(masks, frames)
        if mask is None:
            return None
        self.frames = self._frames
        share = float(mask.masked.double().mean())
        self.mask_note = f"{mask.path} masks {share:.0%} of the frames: {self._frames} frames count"
        return mask.masked[:used] if self._frames == "masked" else ~mask.masked[:used]


def _kind(source: str) -> str:
    """Without numbers: three frames cut off or four is no other way."""
    return "".join(sign for sign in source if not sign.isdigit())
