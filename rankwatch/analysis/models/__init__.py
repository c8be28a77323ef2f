"""Trained models: found by name, fed with audio one utterance at a time, and what they cost up to each layer."""
