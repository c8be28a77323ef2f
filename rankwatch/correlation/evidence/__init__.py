"""From series to what they say: correlations, what choosing would have lost, and how sure that is."""
