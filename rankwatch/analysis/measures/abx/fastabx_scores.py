"""ABX by fastabx: from frames of spans to the error of each cell, and to the one number."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.analysis.rows.sequences.abx_draws import GROUP, AbxDraw

X_ACROSS = 5
"""Speakers of X for each A and B at most, as ZeroSpeech 2021 has it (``max_x_across`` of fastabx)."""

DISTANCE = "angular"

ON, PREVIOUS, NEXT, SPEAKER = "label", "previous", "next", "speaker"
"""Columns of what is compared."""

_OLDEST = "0.9"
_OLDEST_PYTHON = (3, 12)


@dataclass(frozen=True)
class AbxCells:
    """Errors of the cells: all triplets of a pair of labels under the same conditions.

    Attributes:
        error: What fastabx makes of them all; NaN where there is no cell.
        errors: (c,) of each cell.
        pairs: (c,) which pair of labels it is of.
        speakers: (c,) which speaker A and B are of.
        x_speakers: (c,) which speaker X is of.
        within_context: Whether cells of a pair of labels are first averaged over contexts.
    """

    error: float
    errors: NDArray[np.float64]
    pairs: NDArray[np.int64]
    speakers: NDArray[np.str_]
    x_speakers: NDArray[np.str_]
    within_context: bool

    def collapsed(self, kept: NDArray[np.bool_]) -> float:
        """The error of some of the cells, averaged as `error` is.

        Args:
            kept: (c,) which cells.

        Returns:
            Over contexts (where they are held equal), then over speakers, then over pairs of labels; NaN of none.
        """
        errors, pairs, speakers = self.errors[kept], self.pairs[kept], self.speakers[kept]
        if not len(errors):
            return float("nan")
        if self.within_context:
            keys, index = np.unique(np.stack([pairs.astype(str), speakers]), axis=1, return_inverse=True)
            errors, pairs = _means(errors, index.ravel()), keys[0].astype(np.int64)
        return float(_means(errors, np.unique(pairs, return_inverse=True)[1]).mean())


def _means(values: NDArray[np.float64], index: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(np.bincount(index, values) / np.bincount(index))


def missing_fastabx() -> str:
    """What to do where fastabx isn't there; empty where it is.

    Returns:
        A sentence, or nothing.
    """
    if importlib.util.find_spec("fastabx") is not None:
        return ""
    said = f"ABX is measured by fastabx, which isn't installed: pip install 'fastabx>={_OLDEST}'"
    if sys.version_info < _OLDEST_PYTHON:
        said += f" in Python 3.12 or later, which it needs (this is {sys.version_info[0]}.{sys.version_info[1]})"
    return said


def abx_protocol(draws: Mapping[str, AbxDraw]) -> dict[str, Any]:
    """How ABX is measured, as plain data.

    Args:
        draws: The spans that are compared, by tier.

    Returns:
        What a number has to be told with.
    """
    return {
        "by": f"fastabx {importlib.metadata.version('fastabx')}",
        "distance": f"{DISTANCE}, aligned by dynamic time warping",
        "frames": "those whose centre lies in the span",
        "max_size_group": GROUP,
        "max_x_across": X_ACROSS,
        "mean": "over contexts where they are held equal, then speakers, then pairs of labels",
        "interval": "jackknife over speakers, 16 or more; else over sixteenths of the utterances where cells are few",
        **{
            tier: {
                "context": "within" if draw.within_context else "any",
                "spans": sum(map(len, draw.places.values())),
                "each": draw.each,
                "seconds": round(draw.seconds, 3),
            }
            for tier, draw in draws.items()
        },
    }


def abx_cells(
    frames: torch.Tensor,
    lengths: Sequence[int] | NDArray[np.int64],
    columns: Mapping[str, Sequence[str]],
    *,
    by: Sequence[str],
    across: Sequence[str],
    seed: int,
) -> AbxCells:
    """Score spans by fastabx: frames aligned by dynamic time warping, angles between them.

    Cells hold at most ten spans each of A, B and X, and at most five speakers' X for an A and B, as ZeroSpeech 2021.

    Args:
        frames: (m, d) of all spans, one after the other; it is copied.
        lengths: (n,) frames of each span, at least one.
        columns: (n,) by `ON`, `SPEAKER`, `PREVIOUS` and `NEXT`.
        by: Columns that A, B and X have in common.
        across: Columns that A and B have in common, and X another one.
        seed: Of fastabx's subsampling.

    Returns:
        The cells.
    """
    within = PREVIOUS in by
    if not len(lengths):  # a layer of which no span is all numbers
        return _cells(float("nan"), {}, within)
    fastabx: Any = importlib.import_module("fastabx")
    polars: Any = importlib.import_module("polars")
    ends = np.cumsum(lengths).tolist()
    indices = dict(enumerate(itertools.pairwise([0, *ends])))
    accessor = fastabx.InMemoryAccessor(indices, frames.detach().float().clone(), torch.device("cpu"))
    dataset = fastabx.Dataset(labels=polars.DataFrame(dict(columns)), accessor=accessor)
    subsampler = fastabx.Subsampler(GROUP, X_ACROSS if across else None, seed)
    levels = [*([(NEXT, PREVIOUS)] if within else []), *([SPEAKER] if SPEAKER in {*by, *across} else [])]
    try:
        task = fastabx.Task(dataset, on=ON, by=list(by) or None, across=list(across) or None, subsampler=subsampler)
    except fastabx.EmptyTaskError:
        return _cells(float("nan"), {}, within)
    score = fastabx.Score(task, DISTANCE, progress=False)
    table = score.cells.select([name for name in score.cells.columns if not name.startswith("index")])
    return _cells(float(score.collapse(levels=levels or None)), table.to_dict(as_series=False), within)


def _cells(error: float, table: Mapping[str, list[Any]], within: bool) -> AbxCells:
    count = len(table.get("score", ()))
    names = [f"{a}\t{b}" for a, b in zip(table.get(ON, ()), table.get(f"{ON}_b", ()), strict=True)]
    pairs = np.unique(np.array(names, dtype=str), return_inverse=True)[1].astype(np.int64)
    speakers = np.array(table.get(SPEAKER, [""] * count), dtype=str)
    others = np.array(table.get(f"{SPEAKER}_x", table.get(SPEAKER, [""] * count)), dtype=str)
    return AbxCells(error, np.array(table.get("score", ()), dtype=np.float64), pairs, speakers, others, within)
