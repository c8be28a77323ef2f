"""Floor 5: one reading from rows to its outcome, on all processes."""
