"""Floor 0: tensors only. Projection, spectra and their correction, metrics, the linear probe, similarities."""

from rankwatch.numerics.metrics.eigenvalue_metrics import (
    alpha_req,
    dimensions_above,
    explained_variance_dimensions,
    participation_ratio,
    stable_rank,
    top1_explained_variance,
)
from rankwatch.numerics.metrics.rank_definitions import DEFINITIONS, pool_frames
from rankwatch.numerics.metrics.rankme import effective_rank, rankme
from rankwatch.numerics.probes.grouped_probe import grouped_probe
from rankwatch.numerics.probes.linear_probe import ProbeResult, linear_probe
from rankwatch.numerics.rank.collapse_indicators import collapse_indicators
from rankwatch.numerics.rank.corrected_rank import estimate_from_sample
from rankwatch.numerics.rank.estimate_rank import estimate_rank
from rankwatch.numerics.rank.rank_estimate import RankEstimate
from rankwatch.numerics.rank.spectrum import Spectrum
from rankwatch.numerics.rows.projection import choose_projection
from rankwatch.numerics.rows.sample import Sample
from rankwatch.numerics.similarity.cka import cka
from rankwatch.numerics.similarity.linear_prediction import explained, probe_r2
from rankwatch.numerics.similarity.similarity_result import Similarity
from rankwatch.numerics.similarity.squared_correlations import cca_squared

__all__ = [
    "DEFINITIONS",
    "ProbeResult",
    "RankEstimate",
    "Sample",
    "Similarity",
    "Spectrum",
    "alpha_req",
    "cca_squared",
    "choose_projection",
    "cka",
    "collapse_indicators",
    "dimensions_above",
    "effective_rank",
    "estimate_from_sample",
    "estimate_rank",
    "explained",
    "explained_variance_dimensions",
    "grouped_probe",
    "linear_probe",
    "participation_ratio",
    "pool_frames",
    "probe_r2",
    "rankme",
    "stable_rank",
    "top1_explained_variance",
]
