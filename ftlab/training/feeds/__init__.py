"""Batch sources of the training loop: images decoded on the CPU or the GPU, and cached features."""
