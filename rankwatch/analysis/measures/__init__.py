"""Measures of each layer: label-free ones, what it holds of acoustics and labels, how alike layers are."""
