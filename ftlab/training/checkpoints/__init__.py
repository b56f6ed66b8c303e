"""Checkpoints of a training, weights it starts from, and what a resume has to check."""
