"""Devices of a training, and collective operations of its ranks."""
