"""The page "RankWatch" in TensorBoard, which `rankwatch.tensorboard_plugin` loads and whose errors it outlives."""
