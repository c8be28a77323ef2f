"""Measures, labelled checks and losses of runs as series over steps, from records and tables."""
