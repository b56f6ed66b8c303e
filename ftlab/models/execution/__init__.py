"""Execution of networks: device, inference engines, feature extraction and its cache, micro-batches."""
