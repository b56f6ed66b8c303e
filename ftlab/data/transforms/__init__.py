"""Image transforms: preprocessing for every prediction, random augmentation for training."""
