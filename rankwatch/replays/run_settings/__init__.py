"""What a replay takes over from the run: settings, how much was read at which step, and the stored evaluation sets."""
