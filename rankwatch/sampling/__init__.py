"""Floor 1: modules and batches. Which layers, hooks, lengths, probe sets, which rows, which steps."""
