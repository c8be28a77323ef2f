"""Rows whitened at a resolution of the population, and what two representations share there."""
