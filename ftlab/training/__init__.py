"""Training of a network: preparation, epochs of optimizer steps, evaluation and checkpoints."""
