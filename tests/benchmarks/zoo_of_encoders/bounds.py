"""How far counts bound what they are counts of, one-sided, with 95 % confidence."""

from __future__ import annotations

from scipy.stats import beta, chi2


def share_at_most(count: int, of: int) -> float:
    """Upper end of the Clopper-Pearson interval of a share."""
    return 1.0 if count >= of else float(beta.ppf(0.95, count + 1, of - count))


def rate_at_most(count: int) -> float:
    """Upper end of the interval of a Poisson mean, of which so many were counted."""
    return float(chi2.ppf(0.95, 2 * (count + 1)) / 2)


def share(count: int, of: int) -> str:
    """A count with its bound."""
    return f"{count} of {of}" + (f" (< {share_at_most(count, of):.1%})" if of else "")
