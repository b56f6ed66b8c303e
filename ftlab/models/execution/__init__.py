"""How a network is run: inference engines, feature extraction, micro-batches and their caches."""
