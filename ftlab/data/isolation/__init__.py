"""Decoding in worker processes: whatever has not been verified yet cannot end the program that reads it."""
