"""Floor 2: readings over time. Windows, the exchange between processes, detectors, alarms, state."""
