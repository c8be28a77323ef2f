"""What holds other values, each of which puts back which value stood where."""
