"""The arithmetic on its own, for notebooks and scripts: no trainer, no hooks, only arrays.

Which one to use:

- `estimate_rank`: the effective rank of the population that rows were drawn from, corrected for their number, with an
  interval. For anything that is compared between layers, models or numbers of utterances; `rank_ratio` of two that were
  measured on the same utterances.
- `rankme`: the paper's plain value of the rows at hand (Garrido et al. 2023, eq. 2). To compare with published numbers.
- `RANK_DEFINITIONS`: other plain definitions that are in use, by name, to find out which one a logged number is.
- `effective_rank` and the functions of eigenvalues (`participation_ratio`, `stable_rank`, `top1_explained_variance`,
  `dimensions_above`, `explained_variance_dimensions`, `alpha_req`): of a spectrum that you have already.
- `similarity`, `cka`, `cca_squared` (also to labels), `explained`, `probe_r2`: how alike two representations are at the
  same frames, in the population, with an interval; `procrustes` with bounds; `similarity_matrix`, `cka_matrix` of all
  pairs at once, `cca_squared_matrix` of layers to labels; `similarity_difference` of two that were measured on the
  same utterances.
- `plain_cka`, `svcca`, `pwcca`, `plain_procrustes`: similarities of the sample, as published; `published_pwcca` by a
  paper's whole protocol.
- `linear_probe` with a split of your own, `grouped_probe` leaving one speaker out at a time: the small labelled check
  that a rank never replaces.
- `pool_frames`: one row per utterance from padded frames; `pool_spans`: one per phone or word, `span_frames` the frames
  alone, `frame_labels` a label per frame; `usable_labels` and `label_groups` for what is compared with labels.

Example:
    >>> import torch
    >>> from rankwatch.metrics import estimate_rank, rankme
    >>> rows = torch.randn(2000, 64, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 65) ** -1.0
    >>> estimate = estimate_rank(rows)
    >>> estimate.low <= estimate.value <= estimate.high
    True
    >>> 1.0 <= rankme(rows) <= 64.0
    True
"""

from __future__ import annotations

from rankwatch.numerics import (
    DEFINITIONS as RANK_DEFINITIONS,
)
from rankwatch.numerics import (
    ProbeResult,
    RankEstimate,
    Similarity,
    Spectrum,
    alpha_req,
    cca_squared,
    cka,
    dimensions_above,
    effective_rank,
    estimate_rank,
    explained,
    explained_variance_dimensions,
    grouped_probe,
    linear_probe,
    participation_ratio,
    pool_frames,
    probe_r2,
    rankme,
    stable_rank,
    top1_explained_variance,
)
from rankwatch.numerics.rank.paired_ratio import RankRatio, rank_ratio
from rankwatch.numerics.rows.usable_labels import UsableLabels, label_groups, usable_labels
from rankwatch.numerics.similarity.matrices.cka_matrix import cka_matrix
from rankwatch.numerics.similarity.matrices.pairwise import PairwiseSimilarity
from rankwatch.numerics.similarity.matrices.similarity_matrix import similarity_matrix
from rankwatch.numerics.similarity.paired_difference import similarity_difference
from rankwatch.numerics.similarity.plain_similarities import plain_cka, plain_procrustes, pwcca, svcca
from rankwatch.numerics.similarity.procrustes import procrustes
from rankwatch.numerics.similarity.published.published_pwcca import PublishedPwcca, published_pwcca
from rankwatch.numerics.similarity.resolved_similarity import similarity
from rankwatch.numerics.similarity.squared_correlations import cca_squared_matrix
from rankwatch.numerics.spans.pool_spans import PooledSpans, frame_labels, pool_spans
from rankwatch.numerics.spans.span_frames import SpanFrames, span_frames

__all__ = [
    "RANK_DEFINITIONS",
    "PairwiseSimilarity",
    "PooledSpans",
    "ProbeResult",
    "PublishedPwcca",
    "RankEstimate",
    "RankRatio",
    "Similarity",
    "SpanFrames",
    "Spectrum",
    "UsableLabels",
    "alpha_req",
    "cca_squared",
    "cca_squared_matrix",
    "cka",
    "cka_matrix",
    "dimensions_above",
    "effective_rank",
    "estimate_rank",
    "explained",
    "explained_variance_dimensions",
    "frame_labels",
    "grouped_probe",
    "label_groups",
    "linear_probe",
    "participation_ratio",
    "plain_cka",
    "plain_procrustes",
    "pool_frames",
    "pool_spans",
    "probe_r2",
    "procrustes",
    "published_pwcca",
    "pwcca",
    "rank_ratio",
    "rankme",
    "similarity",
    "similarity_difference",
    "similarity_matrix",
    "span_frames",
    "stable_rank",
    "svcca",
    "top1_explained_variance",
    "usable_labels",
]
