"""How far layers have moved between full readings: similarity of the same rows, in bounded memory."""
