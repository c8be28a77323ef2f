"""Floor 4: one reading from rows to its outcome, on all processes."""
