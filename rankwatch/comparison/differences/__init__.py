"""What a difference is, what its interval says, and what holds for runs of other seeds: no files, no models."""
