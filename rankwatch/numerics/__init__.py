"""Floor 0: tensors only. Projection, spectra and their correction, metrics, the linear probe."""

from rankwatch.numerics.analysis import RankEstimate, analyse
from rankwatch.numerics.definitions import DEFINITIONS, pool_frames
from rankwatch.numerics.estimate import estimate_rank
from rankwatch.numerics.grouped_probe import grouped_probe
from rankwatch.numerics.indicators import indicators
from rankwatch.numerics.linear_probe import ProbeResult, linear_probe
from rankwatch.numerics.metrics import (
    alpha_req,
    dimensions_above,
    explained_variance_dimensions,
    first_direction_share,
    participation_ratio,
    stable_rank,
)
from rankwatch.numerics.projection import choose_projection
from rankwatch.numerics.rankme import effective_rank, rankme
from rankwatch.numerics.sample import Sample
from rankwatch.numerics.spectrum import Spectrum

__all__ = [
    "DEFINITIONS",
    "ProbeResult",
    "RankEstimate",
    "Sample",
    "Spectrum",
    "alpha_req",
    "analyse",
    "choose_projection",
    "dimensions_above",
    "effective_rank",
    "estimate_rank",
    "explained_variance_dimensions",
    "first_direction_share",
    "grouped_probe",
    "indicators",
    "linear_probe",
    "participation_ratio",
    "pool_frames",
    "rankme",
    "stable_rank",
]
