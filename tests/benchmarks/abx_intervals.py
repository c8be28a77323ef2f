"""How often the 90 % intervals of ABX errors hold the truth, and how wide they are; needs fastabx.

    python tests/benchmarks/abx_intervals.py --draws 200

Spans of one frame in 16 dimensions: a label's own mean, a deviation that a speaker (or an utterance) has for this
label, and noise of each span. The truth is the mean error of four draws of 400 speakers; of one speaker the mean of all
draws. Labels are the same in all draws: the intervals are of other speakers or utterances, not of other labels.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch

from rankwatch.analysis.measures.abx.abx_measures import of_abx
from rankwatch.analysis.rows.row_tables import LayerInfo, ModelRows
from rankwatch.analysis.rows.sequences.abx_draws import AbxDraw
from rankwatch.analysis.rows.sequences.sequence_tables import SequenceTable
from rankwatch.corpora import Span, Utterance

LABELS, WIDTH = 8, 16
LAYER = LayerInfo("L00", "layer", "block", WIDTH)


def rows_of(seed: int, speakers: int, each: int, utterances: int, spread: float, shared: float) -> ModelRows:
    """Spans of all labels; `spread` is a speaker's (and `shared` an utterance's) own deviation, noise has 1."""
    codes = 0.8 * np.random.default_rng(1).normal(size=(LABELS, WIDTH))
    g = np.random.default_rng(seed)
    own = spread * g.normal(size=(speakers, LABELS, WIDTH))
    tokens = [(s, k, m) for s in range(speakers) for k in range(LABELS) for m in range(each)]
    of_utterance = [s * utterances + int(g.integers(utterances)) for s, _, _ in tokens]
    deviation = shared * g.normal(size=(speakers * utterances, LABELS, WIDTH))
    x = np.stack(
        [
            codes[k] + own[s, k] + deviation[u, k] + g.normal(size=WIDTH)
            for (s, k, _), u in zip(tokens, of_utterance, strict=True)
        ]
    )
    spans: dict[int, list[Span]] = {u: [] for u in range(speakers * utterances)}
    places = []
    for (_, k, _), u in zip(tokens, of_utterance, strict=True):
        places.append(len(spans[u]))
        spans[u].append(Span(float(len(spans[u])), len(spans[u]) + 0.5, f"p{k}"))
    made = tuple(
        Utterance(f"u{u:04d}", None, speaker=f"s{u // utterances:03d}", spans={"phone": tuple(own_spans)})  # type: ignore[arg-type]
        for u, own_spans in spans.items()
    )
    frames = {"layer": torch.from_numpy(x).float()}
    table = SequenceTable(frames, {"layer": np.ones(len(x), dtype=int)}, np.array(of_utterance), np.array(places))
    drawn = {one.id: tuple(range(len(one.spans["phone"]))) for one in made if one.spans["phone"]}
    draw = AbxDraw(drawn, False, True, each, 0.0, seed)
    ids = tuple(one.id for one in made)
    return ModelRows("m", "", (LAYER,), made, ids, {}, torch.zeros(0, 80), {}, None, {"phone": table}, {"phone": draw})


CASES: list[tuple[str, dict[str, int]]] = [
    ("16 speakers, 2 of each label", {"speakers": 16, "each": 2, "utterances": 4}),
    ("32 speakers, 2 of each label", {"speakers": 32, "each": 2, "utterances": 4}),
    ("16 speakers, 10 of each label", {"speakers": 16, "each": 10, "utterances": 20}),
    ("1 speaker, 10 of each label in 60 utterances", {"speakers": 1, "each": 10, "utterances": 60}),
    ("1 speaker, 10 of each label in 24 utterances", {"speakers": 1, "each": 10, "utterances": 24}),
]
"""What is drawn; of one speaker it is the utterances that deviate."""


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=40)
    options = parser.parse_args()
    for name, sizes in CASES:
        one = sizes["speakers"] == 1
        noise = {"spread": 0.0 if one else 0.7, "shared": 0.7 if one else 0.0}
        found: dict[str, list[Any]] = {}
        for draw in range(options.draws):
            for m in of_abx(rows_of(1000 + draw, **sizes, **noise), LAYER, print):
                found.setdefault(m.measure, []).append(m)
        truth: dict[str, list[float]] = {}
        for draw in range(0 if one else 4):
            for m in of_abx(rows_of(draw, **{**sizes, "speakers": 400}, **noise), LAYER, print):
                truth.setdefault(m.measure, []).append(m.value)
        for measure, all_ in found.items():
            values = np.array([m.value for m in all_])
            expected = float(np.mean(truth.get(measure, values)))
            held = np.mean([m.low <= expected <= m.high for m in all_])
            width = np.mean([m.high - m.low for m in all_]) / (2 * 1.645 * values.std())
            print(
                f"{name:46s} {measure:26s} truth {expected:.3f} mean {values.mean():.3f} sd {values.std():.3f} "
                f"holds {held:.0%} width {width:.2f} of the true spread",
                flush=True,
            )


if __name__ == "__main__":
    main()
