"""Resizing and augmentation of whole batches on a GPU, and the transfer of batches to it."""
