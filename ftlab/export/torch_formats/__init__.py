"""Formats that need PyTorch alone: weights for its libraries, and a program of `torch.export`."""
