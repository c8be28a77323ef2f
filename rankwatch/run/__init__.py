"""Floor 6: one run: its session, reporters, alarm actions, last healthy checkpoint and state."""
