"""Floor 2: plain data (readings, alarms, reports), and how rows become readings."""
