"""Audit of a data set: duplicates, image quality, label errors and the map of its embeddings."""
