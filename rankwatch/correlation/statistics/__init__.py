"""Correlations of short, autocorrelated series, and intervals that hold for them: arrays in, arrays out."""
