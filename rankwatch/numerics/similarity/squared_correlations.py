"""Mean squared canonical correlations: of layers with each other, with log-mels, and with labels ("R/q")."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.numerics.rows.usable_labels import FEWEST_GROUPS, FEWEST_ROWS, as_list, usable_labels
from rankwatch.numerics.similarity.matched_rows import Matched, match_rows
from rankwatch.numerics.similarity.resolved_similarity import (
    Resolved,
    check_kappa,
    resolve,
    similarity_of,
    status_of_all,
    unresolvable,
)
from rankwatch.numerics.similarity.similarity_result import Similarity, undefined

LABEL_KAPPA = 1e-4
"""Ridge of labels, in units of their mean eigenvalue."""


def cca_squared(
    x: Any,
    y: Any,
    *,
    groups: Any | None = None,
    kappa: float = 0.01,
    weights: Any | None = None,
    permutations: int = 0,
    seed: int = 0,
) -> Similarity:
    r"""Mean squared canonical correlation of two populations, or of one and labels.

    R(kappa, kappa) / min(p, q) between representations; R(kappa, 0) / (labels - 1) to labels: the share of what can be
    said about labels that a linear map of x says ("R/q"). At kappa = 0 it is Yanai's and Kornblith's mean of squared
    canonical correlations; a little more than 0 leaves directions out that carry next to nothing.

    Args:
        x: (n, p) rows of one representation; numpy or torch, any float type.
        y: (n, q) rows of the other at the same frames, or (n,) labels, numbers or names. Labels of fewer than 20 rows
            or six utterances are one label together, and their rows are left out where they are too few even so.
            Rows without a label (None, NaN or "") are left out.
        groups: (n,) utterance of each row (the speaker, where labels are the speaker's property); None where rows
            are independent.
        kappa: Resolution in units of each representation's mean eigenvalue, not negative.
        weights: (n,) how much each row counts; None where all count the same.
        permutations: How often utterances are shuffled against each other for `p_value`; 0 for none.
        seed: Seed of the shuffling.

    Returns:
        See `Similarity`; the root of the value is the root mean square of the correlations. A mean of the correlations
        themselves has no such estimate. NaN with `constant` where fewer than two labels are left.

    Example:
        >>> z = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))
        >>> found = cca_squared(z[:, :8], z[:, 4:], groups=torch.arange(600) // 4, kappa=0.0)
        >>> round(found.value, 1), found.low < found.value < found.high
        (0.5, True)
    """
    return _of_one(x, [y], groups, kappa, weights, permutations, seed)[0]


def cca_squared_matrix(
    layers: Iterable[Any],
    targets: Sequence[Any],
    *,
    groups: Any | None = None,
    kappa: float = 0.01,
    weights: Any | None = None,
) -> list[list[Similarity]]:
    """`cca_squared` of every layer to every target: phones, speakers, emotions, log-mels.

    What belongs to a layer is found once for all targets that have the same rows; targets that have no label for some
    rows are asked at their own.

    Args:
        layers: (n, d) rows of each layer, all at the same frames; a generator, where only one of them at a time is to
            be in memory.
        targets: (n,) labels, or (n, q) rows, of each target.
        groups: (n,) utterance of each row; None where rows are independent.
        kappa: Resolution in units of each one's mean eigenvalue.
        weights: (n,) how much each row counts; None where all count the same.

    Returns:
        For each layer one `Similarity` for each target: that of `cca_squared`, with its interval. O(n d^2) for each
        layer, and O(n d q) for each target.

    Example:
        >>> z = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))
        >>> layers, targets = (z[:, k:] for k in (0, 2, 4)), [(z[:, 0] > 0.0).int(), z[:, 8:]]
        >>> for of_layer in cca_squared_matrix(layers, targets, groups=torch.arange(600) // 4):
        ...     print([round(found.value, 1) + 0.0 for found in of_layer])
        [0.6, 1.0]
        [0.0, 1.0]
        [0.0, 1.0]
    """
    return [_of_one(x, targets, groups, kappa, weights) for x in layers]


@dataclass(frozen=True)
class _Target:
    """A target as rows that can be matched to a layer's.

    Attributes:
        columns: (n, q) rows, or (n, 1) numbers of labels.
        ids: (n,) numbers of labels, negative where a row has none that counts; None for rows.
        used: (n,) which rows count.
    """

    columns: Any
    ids: NDArray[np.int64] | None
    used: NDArray[np.bool_]


def _of_one(
    x: Any, targets: Sequence[Any], groups: Any, kappa: float, weights: Any, permutations: int = 0, seed: int = 0
) -> list[Similarity]:
    check_kappa(kappa)
    finite = _finite(x)
    prepared = [_target(finite, y, groups) for y in targets]
    found: dict[int, Similarity] = {}
    for same in _with_the_same_rows(prepared):
        matched, carried = _matched(x, [prepared[k] for k in same], groups, weights)
        against = unresolvable(matched, 0)
        one = None if against else resolve(matched, 0, kappa)
        for place, k in enumerate(same, 1):
            labels = carried.get(place)
            found[k] = _to_target(matched, one, against, place, labels, kappa, permutations, seed)
    return [found[k] for k in range(len(targets))]


def _to_target(
    matched: Matched,
    one: Resolved | None,
    against: set[str],
    place: int,
    labels: torch.Tensor | None,
    kappa: float,
    permutations: int,
    seed: int,
) -> Similarity:
    """Of one layer to the target at a place among the views."""
    directions = min(matched.views[0].shape[1], matched.views[place].shape[1])
    ridge = kappa
    if labels is not None:
        # The last label is left out: the constant says it.
        dummies = torch.nn.functional.one_hot(labels, int(labels.max()) + 1 if len(labels) else 1)[:, :-1].double()
        views, rounding = list(matched.views), list(matched.rounding)
        views[place], rounding[place] = dummies, 0.0
        matched = Matched(tuple(views), matched.utterances, tuple(rounding), matched.n_nonfinite)
        directions, ridge = dummies.shape[1], LABEL_KAPPA
    against = against | unresolvable(matched, place)
    if one is None or against:
        return undefined(matched, status_of_all(matched) | against, kappa)
    return similarity_of(matched, one, resolve(matched, place, ridge), directions, permutations, seed)


def _target(finite: NDArray[np.bool_], y: Any, groups: Any) -> _Target:
    rows = y if isinstance(y, (torch.Tensor, np.ndarray)) else np.asarray(y, dtype=object if _names(y) else None)
    if rows.ndim != 1:
        return _Target(rows, None, _finite(rows))
    names = as_list(rows)
    if len(names) != len(finite):
        raise ValueError(f"expected one label for each of {len(finite)} rows, got {len(names)}")
    names = [name if of_finite else None for name, of_finite in zip(names, finite, strict=True)]
    of_row = list(range(len(names))) if groups is None else as_list(groups)
    usable = usable_labels(names, of_row)
    number = {name: k for k, name in enumerate(usable.labels)}
    # Rows of labels that are too rare to stand for anything are one label together.
    rare = np.array([name in usable.left_out for name in names], dtype=bool)
    together = rare.sum() >= FEWEST_ROWS and len({of_row[k] for k in np.flatnonzero(rare)}) >= FEWEST_GROUPS
    other = len(number) if together else -1
    ids = np.array([other if is_rare else number.get(name, -1) for name, is_rare in zip(names, rare, strict=True)])
    if not (ids >= 0).any():  # nothing can be said, of no row in particular
        ids = np.zeros(len(names), dtype=np.int64)
    return _Target(ids[:, None].astype(np.float64), ids, (ids >= 0) | ~finite)


def _finite(rows: Any) -> NDArray[np.bool_]:
    """(n,) whether all numbers of a row are finite."""
    found: NDArray[np.bool_] = torch.isfinite(torch.as_tensor(rows).detach()).all(dim=-1).cpu().numpy()
    return found


def _names(y: Any) -> bool:
    """Whether a sequence is one of labels rather than of rows."""
    return not any(isinstance(one, (list, tuple, np.ndarray, torch.Tensor)) for one in y)


def _with_the_same_rows(targets: Sequence[_Target]) -> list[list[int]]:
    """Places of targets at the same rows."""
    found: dict[bytes, list[int]] = {}
    for k, target in enumerate(targets):
        found.setdefault(target.used.tobytes(), []).append(k)
    return list(found.values())


def _matched(x: Any, targets: Sequence[_Target], groups: Any, weights: Any) -> tuple[Matched, dict[int, torch.Tensor]]:
    """A layer and targets in one order; and the numbers of labels, for those targets that have them, by their place."""
    used = targets[0].used
    missing = any(target.ids is not None for target in targets) and not used.all()
    if missing:
        whole = np.ones(len(used)) if weights is None else torch.as_tensor(weights).detach().double().cpu().numpy()
        weights = np.where(used, whole, 0.0)
    labelled = [k for k, target in enumerate(targets, 1) if target.ids is not None]
    carried = [targets[k - 1].ids for k in labelled]
    matched, ids = match_rows([x, *(target.columns for target in targets)], groups, weights, carried)
    return matched, dict(zip(labelled, ids, strict=True))
