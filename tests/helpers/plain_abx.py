"""ABX by loops over triplets, written from its definition: what fastabx is compared with, and what stands for it."""

import functools
import itertools
import math

import numpy as np

from rankwatch.analysis.measures.abx.fastabx_scores import ON, PREVIOUS, SPEAKER, AbxCells


def warped(one, other):
    """Mean angle (in half turns) along the cheapest path through two sequences of frames (n, d)."""
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (one, other)]
    angles = np.arccos(np.clip(unit[0] @ unit[1].T, -1.0, 1.0)) / math.pi
    cost = np.full((len(one) + 1, len(other) + 1), np.inf)
    cost[0, 0] = 0.0
    for i, j in itertools.product(range(len(one)), range(len(other))):
        cost[i + 1, j + 1] = angles[i, j] + min(cost[i, j], cost[i, j + 1], cost[i + 1, j])
    i, j, steps = len(one), len(other), 1
    while (i, j) != (1, 1):
        steps += 1
        i, j = min(((i - 1, j - 1), (i, j - 1), (i - 1, j)), key=lambda at: cost[at])
    return cost[-1, -1] / steps


def abx_cells(frames, lengths, columns, *, by, across, seed):
    """As `fastabx_scores.abx_cells`, without its subsampling."""
    ends = np.cumsum(lengths)
    parts = [frames[end - length : end].double().numpy() for end, length in zip(ends, lengths, strict=True)]
    n = len(parts)
    near = functools.cache(lambda k, m: warped(parts[k], parts[m]))
    label, speaker = columns[ON], columns[SPEAKER]
    same = [tuple(columns[name][k] for name in by) for k in range(n)]
    cells = {}
    for a in range(n):
        own = [k for k in range(n) if same[k] == same[a]]
        for x in [k for k in own if label[k] == label[a] and k != a and not (across and speaker[k] == speaker[a])]:
            for b in [k for k in own if label[k] != label[a] and not (across and speaker[k] != speaker[a])]:
                key = (label[a], label[b], same[a], *((speaker[a], speaker[x]) if across else ()))
                cells.setdefault(key, []).append(0.5 * (1.0 + np.sign(near(x, a) - near(x, b))))
    keys = list(cells)
    known = SPEAKER in {*by, *across}
    pairs = np.unique([f"{key[0]}\t{key[1]}" for key in keys], return_inverse=True)[1]
    own = np.array([key[3] if across else key[2][-1] if known else "" for key in keys], dtype=str)
    others = np.array([key[4] if across else key[2][-1] if known else "" for key in keys], dtype=str)
    found = AbxCells(math.nan, np.array([np.mean(cells[key]) for key in keys]), pairs, own, others, PREVIOUS in by)
    error = found.collapsed(np.ones(len(keys), dtype=bool))
    return AbxCells(error, found.errors, found.pairs, found.speakers, found.x_speakers, found.within_context)
