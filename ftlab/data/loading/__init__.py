"""From files to batches: samplers, decoding processes, prefetching and the image cache."""
