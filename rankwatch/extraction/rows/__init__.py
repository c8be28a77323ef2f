"""From one forward pass to rows: layouts, valid frames, sampling, labels."""
