"""Checkpoints of a training, the weights it starts from, and the checks of a resume."""
