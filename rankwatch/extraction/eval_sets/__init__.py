"""Evaluation sets: the small fixed sets of audio that readings are made on, and their forward passes."""
