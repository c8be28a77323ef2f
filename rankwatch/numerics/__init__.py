"""Floor 0: tensors only. Projection, spectra and their correction, metrics, the linear probe."""

from rankwatch.numerics.analysis import RankEstimate, analyse
from rankwatch.numerics.estimate import estimate_rank
from rankwatch.numerics.indicators import indicators
from rankwatch.numerics.linear_probe import ProbeResult, linear_probe
from rankwatch.numerics.projection import choose_projection
from rankwatch.numerics.rankme import effective_rank, rankme
from rankwatch.numerics.sample import Sample
from rankwatch.numerics.spectrum import Spectrum

__all__ = [
    "ProbeResult",
    "RankEstimate",
    "Sample",
    "Spectrum",
    "analyse",
    "choose_projection",
    "effective_rank",
    "estimate_rank",
    "indicators",
    "linear_probe",
    "rankme",
]
