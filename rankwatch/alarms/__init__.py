"""Floor 3: from readings to alarms: history, detectors, tracking, episodes."""
