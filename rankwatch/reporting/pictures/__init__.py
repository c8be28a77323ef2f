"""Heatmap and spectra as pixels, and when they are drawn."""
