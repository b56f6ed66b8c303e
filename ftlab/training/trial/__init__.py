"""The trial of a training step before the start: whether the network can train on its batches at all."""
