"""Tar shards in WebDataset's layout: written, indexed, and read one sample at a time. No torch."""
