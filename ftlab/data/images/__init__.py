"""Decoding of single image files, with limits on the time and memory that one file may cost."""
