"""What happens around a training step: the loop, checkpoints, validation, EMA, CUDA graphs."""
