"""Runs and checkpoints side by side, layer by layer: what differs, by how much, and what that is evidence of."""
