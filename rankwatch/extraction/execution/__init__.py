"""Running the user's model ourselves, and leaving it as it was."""
