"""Checkpoints that a run has written: which there are, from which step each is, and the weights in it."""
