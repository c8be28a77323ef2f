"""What a trained model knows, layer by layer: rows of labelled audio, measures of them, and what follows."""
