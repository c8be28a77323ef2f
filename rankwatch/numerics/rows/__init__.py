"""Rows of embeddings made ready: canonical order, moments, random projection, rounding of narrow formats."""
