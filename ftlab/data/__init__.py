"""Data pipeline: from a folder, archive or manifest of images to batches of tensors and labels."""
