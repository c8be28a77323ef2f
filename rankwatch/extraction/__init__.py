"""Floor 1: models, batches, forward passes and the rows that are drawn from them."""
