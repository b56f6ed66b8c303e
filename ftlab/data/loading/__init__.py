"""Loading of images in batches: sampling order, decoding threads and processes, prefetching, image cache."""
