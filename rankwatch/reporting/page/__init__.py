"""A page of a run's figures: its data, its script, and the one file that opens without a network."""
