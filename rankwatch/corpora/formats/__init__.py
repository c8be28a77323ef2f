"""One reader for each form in which a corpus lies on disk."""
