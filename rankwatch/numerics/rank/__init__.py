"""The effective rank of the population that rows were drawn from, with its interval."""
