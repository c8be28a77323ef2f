"""``rankwatch replay``: readings of the checkpoints that a run has written, through the same rooms as in the run."""
