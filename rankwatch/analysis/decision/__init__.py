"""What follows from the measures, how sure it is, and in plain words."""
