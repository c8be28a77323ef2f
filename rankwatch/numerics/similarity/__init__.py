"""How alike two representations are in the population that their rows were drawn from, with its interval."""
