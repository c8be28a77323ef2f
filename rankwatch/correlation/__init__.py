"""Whether effective rank follows labelled checks, over checkpoints, layers and runs, and what choosing by it loses."""
