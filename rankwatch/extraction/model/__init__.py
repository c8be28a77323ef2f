"""What is in a model: module paths, blocks, layers, quantizers. Never runs it."""
