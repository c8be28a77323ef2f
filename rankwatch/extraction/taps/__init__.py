"""Where in a block a layer's output was taken: which operation made the tensor that is read."""
