"""Benchmarks of speed and memory: `python -m benchmarks.<name>` prints what it measures."""
