"""How often a gap between groups is called sure where groups are drawn at random, so that there is none.

    python tests/benchmarks/group_gaps.py [--draws 400]

Each draw has its own rows, labels and groups. Four labels of utterances, or eight of three spans in each; a layer that
knows them not at all, in part or nearly all; two to four groups, of equal or unequal numbers of utterances. At most 5
in 100 draws may be called sure.
"""

from __future__ import annotations

import argparse
import itertools
import os
import warnings

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import numpy as np
import torch

from rankwatch.analysis.decision.group_gaps import largest_gap
from rankwatch.analysis.measures.probes.group_scores import group_scores
from rankwatch.analysis.measures.probes.probe_scores import single_labels

UTTERANCES, WIDTH = 160, 24


def is_sure(seed: int, signal: float, spans: int, labels: int, shares: tuple[float, ...]) -> bool:
    """Draw an analysis of one layer and one grouping; whether a gap is called sure."""
    draw = np.random.default_rng(seed)
    at = np.repeat(np.arange(UTTERANCES), spans)
    names = draw.integers(labels, size=len(at))
    means = draw.normal(size=(labels, WIDTH))
    own = 0.5 * draw.normal(size=(UTTERANCES, WIDTH))
    x = torch.from_numpy(signal * means[names] + own[at] + draw.normal(size=(len(at), WIDTH))).float()
    utterances = np.char.add("u", at.astype(str))
    groups = np.array([f"g{k}" for k in draw.choice(len(shares), size=UTTERANCES, p=shares)])[at]
    words = np.char.add("l", names.astype(str))
    _, right = single_labels(x, words, utterances, utterances)
    where = {"model": "", "layer": "", "target": "", "level": ""}
    found = group_scores(right, words, groups, utterances, "group", **where)
    members = {one.group.partition("=")[2]: one for one in found if one.measure == "probe_accuracy"}
    return largest_gap(members, 1)[3]


def main() -> None:
    """Count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=400)
    draws = parser.parse_args().draws
    warnings.simplefilter("error")
    rows, groups = ((1, 4), (3, 8)), ((0.5, 0.5), (0.15, 0.85), (0.25,) * 4, (0.7, 0.15, 0.15))
    for signal, (spans, labels), shares in itertools.product((0.0, 0.4, 1.5), rows, groups):
        sure = sum(is_sure(seed, signal, spans, labels, shares) for seed in range(draws))
        print(
            f"signal {signal}, {spans} rows an utterance, groups {shares}: {100 * sure / draws:.1f} in 100", flush=True
        )


if __name__ == "__main__":
    main()
