"""Floor 4: what the user may ask for: the arguments of every face, checked, with their defaults."""
