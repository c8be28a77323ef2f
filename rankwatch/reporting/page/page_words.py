"""The page's own words for somebody who has never heard of effective rank: captions, and what each word means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rankwatch.reporting.page.page_tables import Table
from rankwatch.reporting.recorded.recorded_run import RecordedRun
from rankwatch.reporting.recorded.references import WORRY

_BARS = "Bars: alarms, pale from their first sign, full once confirmed."
HEALTH = (
    f"Health: what the worst layer has left of its usual rank. Green: fine; amber: below {WORRY:g}, or a warning; red: "
    f"critical; dashed grey: too early to tell. {_BARS}"
)
HEALTH_OF_SEVERAL = f"Health: what the worst layer has left of its usual rank. {_BARS}"
RANKS = (
    "Effective rank: how many dimensions a layer's embeddings really use. It should rise or hold. Where it falls to a "
    "fraction, the layer no longer tells inputs apart, however good the loss looks."
)
_BANDS = "Bands: where the true value lies with 90 % certainty."
_DEPTH = "Colour: depth, from {first} (nearest to the audio, blue) to {last} (yellow-green)."
HEATMAP = (
    "The same numbers as a map: a row for each layer, the last one on top. Here colour tells the rank, and not the "
    "layer: dark is few dimensions, bright is many (scale at the right)."
)
SPECTRA = (
    "The singular values behind the rank of one layer, at the step of the cursor: straight and flat is a space in full "
    "use, a cliff is a collapse."
)

DRIFT = (
    "Drift: how much of what a layer said of the same audio is another thing now, 0 for none and 1 for all. A high "
    "line: the layer is still being rewritten. A single peak: it changed at once (a reset, another checkpoint, other "
    "targets). Hollow grey marks aren't to be trusted."
)


def ranks_caption(runs: Sequence[RecordedRun]) -> str:
    """What the figure of ranks shows.

    Args:
        runs: One, whose colours are its layers', or several.

    Returns:
        Sentences.
    """
    labels = [row.label for row in runs[0].layers]
    said = [RANKS, _BANDS] if any(np.isfinite(c.low).any() for run in runs for c in run.curves.values()) else [RANKS]
    if len(runs) == 1 and len(labels) > 1:
        said.append(_DEPTH.format(first=labels[0], last=labels[-1]))
    return " ".join(said)


def words_table(runs: Sequence[RecordedRun]) -> Table:
    """What the words of the page mean, as far as they stand on it.

    Args:
        runs: One or several.

    Returns:
        One row a word.
    """
    labels = [row.label for row in max(runs, key=lambda run: len(run.layers)).layers]
    sources = {source for run in runs for source in run.sources}
    levels = {level for run in runs for level in run.levels}
    rows = [
        (
            "effective rank",
            "How many dimensions a layer's embeddings really use, of as many as it has channels. If all inputs get "
            "nearly the same embedding it is close to 1.",
        ),
        ("25.4 [24.0, 26.8]", "An estimate, and the interval in which the true value lies with 90 % certainty."),
    ]
    if len(labels) > 1:
        rows.append(
            (
                f"{labels[0]} ... {labels[-1]}",
                "The layers that are watched, in the order in which the audio goes through them; on the name of each, "
                "and in the table of layers, stands which module of the model it is.",
            )
        )
    rows += [
        ("frame level", "Each short stretch of audio (mostly 20 ms) counts by itself: the content, such as phones.")
    ] * ("frame" in levels)
    rows += [("utterance level", "The mean of each recording counts: speaker, channel, what is said as a whole.")] * (
        "utterance" in levels
    )
    rows += [
        (
            "first_batches",
            "The recordings that ranks are measured on where no others were named: copies of the first training "
            "batches, the same ones at every reading, read without dropout and masking.",
        )
    ] * ("first_batches" in sources)
    rows += [("train", "Ranks of the training's own forward passes, with dropout and masking.")] * ("train" in sources)
    rows += [
        (
            "health",
            "The worst layer's rank relative to its usual one, at most 1. During the first readings there is no usual "
            "one yet: health stays at 1 unless a rank falls to about a third of its start, since healthy layers may "
            "lose half of it there. So look at the ranks themselves.",
        ),
        (
            "usual",
            "What a layer has while all is well: the level that it reached in four of five of its latest healthy "
            "readings, without the first four and the learning rate's warm-up. Each layer is compared with itself "
            "only.",
        ),
        ("reading", "One measurement of all layers, every so many optimiser steps; a dot on the curves."),
        (
            "warning, critical",
            "Critical: it has lasted for several readings and another number agrees. Otherwise it is a warning.",
        ),
    ]
    return Table("What the words mean", ["word", "meaning"], rows, open=True)
