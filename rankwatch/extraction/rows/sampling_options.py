"""How rows are drawn from a forward pass: one frozen set of options, most of what makes two readings comparable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rankwatch.extraction.valid_frames.layouts import LAYOUTS
from rankwatch.numerics import choose_projection
from rankwatch.runtime.argument_kinds import is_text, is_whole, refusal, takes

FRAME_MASKS = ("unmasked", "masked", "all")


@dataclass(frozen=True)
class RowSampling:
    """How the rows (n, d) of each layer are drawn, and how wide they are when their spectrum is taken.

    Readings can be compared only where all of this is the same, so it is recorded with each of them
    (`rankwatch.Protocol`).

    Args:
        n_utterances: Utterances of a full reading, over all processes.
        frames_per_utterance: Valid frames drawn from each of them, at random with a fixed seed.
        frame_mask: Which frames may be drawn where a mask over time is seen, that is in a recorded call that is
            replayed and in the training pass: those without the mask (``"unmasked"``), those under it (``"masked"``:
            their embeddings begin as one vector), or ``"all"``.
        lengths: How many frames of each utterance are valid: ``"auto"`` (found in the call and in the batch),
            ``"none"`` (every frame counts), a dotted path into the batch, or a function of the batch that returns one
            length per utterance.
        projection: Columns that layers are projected to at random before the spectrum is taken: ``"auto"`` (half of
            the columns where there are more than 512, which takes a quarter of the time), None for no projection, or
            a number of columns for all layers wider than it.
        seed: Seed of the frames that are drawn and of the projection.
        brief_utterances: Utterances of the brief readings between full ones: always the first ones of the set. They
            show the frame level alone, which is what alarms need, from more frames of each utterance, so that the rows
            are about as many; their ranks are multiplied by what the last full reading said over what its own first
            utterances said. None, or more than half of a set, makes every reading a full one.
        full_every: Every so many readings one is full, and more often at the start; also those that have to confirm or
            to decide something. 1 makes every reading a full one.
        layouts: Which axis of a layer's output is which, by glob over layers, where that can't be found:
            ``{"stem": "(B, C, F, T)"}``. B are utterances, T times, C channels, F bands of a spectrogram (which become
            columns together with the channels), N tokens in no order of time (of which each counts).

    Raises:
        ValueError: If an option is outside of what it may be; the message names it.

    Example:
        >>> from rankwatch import RowSampling
        >>> RowSampling(n_utterances=256).frames_per_utterance
        4
    """

    n_utterances: int = 512
    frames_per_utterance: int = 4
    frame_mask: str = "unmasked"
    lengths: str | Callable[[Any], Any] = "auto"
    projection: str | int | None = "auto"
    seed: int = 0
    brief_utterances: int | None = 64
    full_every: int = 12
    layouts: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        wanted = "a whole number, at least 2, since one utterance spans no space"
        self._require(is_whole(self.n_utterances, 2), "n_utterances", wanted)
        self._require(is_whole(self.frames_per_utterance, 1), "frames_per_utterance", "a whole number, at least 1")
        known = isinstance(self.frame_mask, str) and self.frame_mask in FRAME_MASKS
        self._require(known, "frame_mask", "'unmasked', 'masked' or 'all'")
        named = is_text(self.lengths) or takes(self.lengths, 1)
        wanted = "'auto', 'none', a dotted path into the batch, or a function f(batch) that returns the lengths"
        self._require(named, "lengths", wanted)
        known = self.projection is None or is_whole(self.projection, 2)
        known = known or (isinstance(self.projection, str) and self.projection == "auto")
        self._require(known, "projection", "'auto', None or a number of columns, at least 2")
        self._require(is_whole(self.seed, 0) and self.seed < 2**63, "seed", "a whole number, 0 or more and below 2^63")
        few = self.brief_utterances is None or is_whole(self.brief_utterances, 2)
        self._require(few, "brief_utterances", "a whole number, at least 2, or None for full readings only")
        self._require(is_whole(self.full_every, 1), "full_every", "a whole number, at least 1 (all readings are full)")
        known = isinstance(self.layouts, Mapping) and all(
            isinstance(glob, str) and isinstance(layout, str) and layout in LAYOUTS
            for glob, layout in self.layouts.items()
        )
        layouts = ", ".join(map(repr, LAYOUTS))
        self._require(known, "layouts", f"a mapping from globs over layers to one of {layouts}")
        for name in ("n_utterances", "frames_per_utterance", "projection", "seed", "brief_utterances", "full_every"):
            if is_whole(getattr(self, name)):  # numpy's are written into no checkpoint
                object.__setattr__(self, name, int(getattr(self, name)))

    def _require(self, condition: bool, name: str, wanted: str) -> None:
        if not condition:
            raise ValueError(refusal("RowSampling", name, getattr(self, name), wanted))

    def brief_of(self, utterances: int) -> int:
        """Utterances of a brief reading of a set.

        Args:
            utterances: Utterances of the whole set, over all processes.

        Returns:
            Their number over all processes; 0 where the set is always read as a whole.
        """
        wanted = self.brief_utterances
        return wanted if wanted is not None and self.full_every > 1 and 2 * wanted <= utterances else 0

    @property
    def brief_frames(self) -> int:
        """Frames drawn from each utterance of a brief reading: as many rows as a full one has, or a few more."""
        wanted = self.brief_utterances or self.n_utterances
        return max(self.frames_per_utterance, -(-self.n_utterances * self.frames_per_utterance // wanted))

    def columns(self, width: int) -> int | None:
        """Columns that a layer is projected to.

        Args:
            width: Columns of the layer's output.

        Returns:
            Their number, or None where the layer is not projected.
        """
        if self.projection == "auto":
            return choose_projection(width, self.n_utterances * self.frames_per_utterance)
        return self.projection if isinstance(self.projection, int) and self.projection < width else None
