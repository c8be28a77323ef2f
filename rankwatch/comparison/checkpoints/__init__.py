"""Models by their rows: which layers are compared, and paired differences on the same utterances."""
