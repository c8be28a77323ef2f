"""Floor 3: tags, TensorBoard, console, files. Computes nothing."""
