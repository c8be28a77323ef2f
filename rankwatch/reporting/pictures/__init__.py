"""Heatmap and spectra as pixels, and the loggers besides TensorBoard that take pictures."""
