"""From audio to the rows of all layers: which utterances, times and spans are drawn, and how rows are stored."""
