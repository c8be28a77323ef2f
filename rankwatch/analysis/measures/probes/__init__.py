"""Probes of labels: what their predictions are worth, for all and group by group."""
