"""Hooks on the user's model: outputs of layers, calls that can be replayed, codes of quantizers."""
