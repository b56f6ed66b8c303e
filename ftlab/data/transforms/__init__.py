"""Preprocessing that every prediction needs, and random augmentation for training."""
