"""Floor 0: processes, threads, time, failures and import paths. Knows nothing of models or readings."""
