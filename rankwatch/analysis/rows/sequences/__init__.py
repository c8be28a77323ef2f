"""Spans and utterances frame by frame: which are drawn, and how their frames are stored."""
