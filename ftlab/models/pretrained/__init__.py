"""Pretrained weights: where they are, how they are downloaded, and how foreign checkpoints are imported."""
