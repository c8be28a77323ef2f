"""Which rows are drawn: keyed on the utterance's content, never on its place in a batch.

Everything here is integer arithmetic on the tensors' own device, so the same utterance gives the same key
and the same frames in any batch, any order, under any zero padding and on any process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rankwatch.extraction.inputs.utterance_keys import _GOLDEN, _MASK63, mix64
from rankwatch.numerics.rows.rounding import number_format, rounding_of

FULL, BRIEF = 1, 2
"""Which sample a row belongs to, as bits: that of a full reading, that of a brief one, or both."""


def whole_sample(rows: Tensor) -> Tensor:
    """(n,) uint8: rows (n, ...) that belong to the sample of a full reading alone."""
    return torch.full((len(rows),), FULL, dtype=torch.uint8)


def sample_frames(frames: Tensor, keys: Tensor, count: int, seed: int = 0, among: Tensor | None = None) -> list[Tensor]:
    """Positions of up to `count` frames of each utterance, uniformly without replacement.

    Each frame's priority is a hash of (utterance key, position, seed), and the `count` smallest of the valid
    ones are taken: an exact simple random sample that padding can't change.

    Args:
        frames: (B,) valid frames of each utterance, int64.
        keys: (B,) from `fingerprint`.
        count: Frames wanted from each; shorter utterances are used whole.
        seed: Another seed draws other frames.
        among: (B, T) boolean, the frames that may be drawn; all valid ones by default.

    Returns:
        B ascending int64 index tensors on the CPU, of min(count, frames_b) entries each (fewer where fewer may be
        drawn).
    """
    frames, keys = frames.cpu(), keys.cpu()
    longest = int(frames.max()) if len(frames) else 0
    position = torch.arange(1, longest + 1)
    priority = mix64(mix64(position * _GOLDEN + seed) ^ keys[:, None]) & _MASK63
    valid = position <= frames[:, None]
    if among is not None:
        valid &= among.cpu()[:, :longest]
    priority = priority.masked_fill(~valid, _MASK63)
    chosen = priority.topk(min(count, longest), dim=1, largest=False).indices
    wanted = valid.sum(dim=1).clamp(max=count).tolist()
    return [row[:n].sort().values for row, n in zip(chosen, wanted, strict=True)]


@dataclass(frozen=True)
class SampledRows:
    """Rows of one layer from one forward pass, on the CPU.

    Attributes:
        frame_rows: (sum of drawn frames, d) float32.
        frame_keys: (sum of drawn frames,) int64, the utterance of each row.
        utterance_rows: (utterances with at least one frame, d) float32, means over valid frames.
        utterance_keys: Their keys.
        frame_rounding: Variance of each frame's bfloat16 or float16 rounding, summed over its columns.
        utterance_rounding: What is left of it in each mean.
        frame_places: (sum of drawn frames,) float64, where in its utterance the middle of each frame lies, from 0 to 1.
        dropped: Utterances without a single valid frame.
        frame_samples: (sum of drawn frames,) uint8, the samples that each belongs to: `FULL`, `BRIEF`, or both.
    """

    frame_rows: Tensor
    frame_keys: Tensor
    utterance_rows: Tensor
    utterance_keys: Tensor
    frame_rounding: Tensor
    utterance_rounding: Tensor
    frame_places: Tensor
    dropped: int
    frame_samples: Tensor

    def without(self, keys: Iterable[int]) -> SampledRows:
        """The rows of all other utterances."""
        gone = torch.tensor(sorted(keys), dtype=torch.int64)
        frames, utterances = ~torch.isin(self.frame_keys, gone), ~torch.isin(self.utterance_keys, gone)
        return SampledRows(
            frame_rows=self.frame_rows[frames],
            frame_keys=self.frame_keys[frames],
            utterance_rows=self.utterance_rows[utterances],
            utterance_keys=self.utterance_keys[utterances],
            frame_rounding=self.frame_rounding[frames],
            utterance_rounding=self.utterance_rounding[utterances],
            frame_places=self.frame_places[frames],
            dropped=self.dropped,
            frame_samples=self.frame_samples[frames],
        )


@dataclass(frozen=True)
class DrawnFrames:
    """Which frames of a batch are drawn, and for which samples.

    Attributes:
        positions: B ascending int64 index tensors.
        samples: B uint8 tensors of the same sizes: `FULL`, `BRIEF`, or both.
    """

    positions: list[Tensor]
    samples: list[Tensor]


def draw_frames(
    frames: Tensor,
    keys: Tensor,
    count: int,
    *,
    brief: int = 0,
    brief_count: int = 0,
    seed: int = 0,
    among: Tensor | None = None,
) -> DrawnFrames:
    """Frames for the sample of a full reading and, of the first utterances, more of them for that of a brief one.

    Both are drawn by `sample_frames`, so the frames of a full reading are among those of a brief one.

    Args:
        frames: (B,) valid frames of each utterance, int64.
        keys: (B,) from `fingerprint`.
        count: Frames wanted from each for a full reading.
        brief: So many utterances at the start belong to the sample of a brief reading as well.
        brief_count: Frames wanted from each of these, at least `count`.
        seed: Another seed draws other frames.
        among: (B, T) boolean, the frames that may be drawn; all valid ones by default.

    Returns:
        The frames of each utterance.
    """
    positions = sample_frames(frames, keys, count, seed, among)
    samples = [whole_sample(one) for one in positions]
    if brief:
        more = sample_frames(frames[:brief], keys[:brief], brief_count, seed, None if among is None else among[:brief])
        for utterance, wider in enumerate(more):
            both = torch.isin(wider, positions[utterance])
            positions[utterance], samples[utterance] = wider, torch.where(both, FULL | BRIEF, BRIEF).to(torch.uint8)
    return DrawnFrames(positions, samples)


def sample_rows(
    hidden: Tensor,
    frames: Tensor,
    keys: Tensor,
    *,
    per_utterance: int,
    seed: int = 0,
    levels: Sequence[str] = ("frame", "utterance"),
    drawn: DrawnFrames | None = None,
    among: Tensor | None = None,
) -> SampledRows:
    """Draw both levels' rows from one layer's output.

    Args:
        hidden: (B, T, C) of any floating dtype on any device; none of it stays alive.
        frames: (B,) valid frames of each utterance, at most T.
        keys: (B,) int64 utterance keys.
        per_utterance: Frames to draw from each utterance.
        seed: Seed of the draw.
        levels: Which levels are wanted; the other's rows stay empty.
        drawn: From `draw_frames` with the same arguments, where they are known already.
        among: (B, T) boolean, the frames that count; all valid ones by default.

    Returns:
        The rows in the batch's order. Utterance means are summed in float64 over a contiguous copy of the
        valid frames alone, so padding can change neither their value nor their rounding.
    """
    hidden = hidden.detach()
    width = hidden.shape[2]
    frames, keys = frames.clamp(max=hidden.shape[1]), keys.cpu()
    counts = frames.tolist()
    drawn = draw_frames(frames, keys, per_utterance, seed=seed, among=among) if drawn is None else drawn
    indices = drawn.positions
    kept = [i for i, some in enumerate(indices) if len(some) > 0]
    lengths = torch.tensor([len(indices[i]) for i in kept], dtype=torch.int64)
    none = torch.zeros(0, width)
    frame_rows = utterance_rows = none
    rounding = places = none[:, 0].double()
    if "frame" in levels and kept:
        utterance, frame = torch.tensor(kept).repeat_interleave(lengths), torch.cat([indices[i] for i in kept])
        frame_rows = hidden[utterance.to(hidden.device), frame.to(hidden.device)].float().cpu()
        places = (frame + 0.5) / torch.tensor(counts, dtype=torch.float64)[utterance]
    # Activations that were turned into float32 are still as coarse as they were.
    format_ = number_format(frame_rows) if hidden.dtype == torch.float32 else hidden.dtype
    if "utterance" in levels and kept:
        whole = [_counting(hidden[i, : counts[i]], among, i).double().contiguous() for i in kept]
        utterance_rows = torch.stack([x.mean(dim=0) for x in whole]).float().cpu()
        rounding = torch.stack([rounding_of(x, format_).sum() / len(x) ** 2 for x in whole]).cpu()
    kept_keys = keys[kept]
    return SampledRows(
        frame_rows=frame_rows,
        frame_keys=kept_keys.repeat_interleave(lengths) if len(frame_rows) else kept_keys[:0],
        utterance_rows=utterance_rows,
        utterance_keys=kept_keys if len(utterance_rows) else kept_keys[:0],
        frame_rounding=rounding_of(frame_rows, format_),
        utterance_rounding=rounding,
        frame_places=places,
        dropped=counts.count(0),
        frame_samples=torch.cat([none[:, 0].to(torch.uint8), *drawn.samples])[: len(frame_rows)],
    )


def _counting(frames: Tensor, among: Tensor | None, utterance: int) -> Tensor:
    return frames if among is None else frames[among[utterance, : len(frames)].to(frames.device)]
