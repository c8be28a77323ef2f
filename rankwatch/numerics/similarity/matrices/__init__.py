"""Similarities of many layers at once, sharing what belongs to one layer alone."""
