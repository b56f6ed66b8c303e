"""From a folder, or a sample set, to batches of pictures and labels."""
