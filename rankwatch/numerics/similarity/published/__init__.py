"""Similarities by the whole protocol of a paper, with its splits and its choices."""
