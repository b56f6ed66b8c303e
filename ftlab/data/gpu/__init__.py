"""Resizing and augmentation of whole batches on a GPU."""
