"""What is shown in a terminal while somebody waits."""
