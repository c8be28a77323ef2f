"""Runs by their records: the curves that they have in common, their differences, and where they part."""
