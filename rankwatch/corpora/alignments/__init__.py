"""Alignments in the forms that speech tools write, and which utterance each belongs to."""
