"""Decoding of single image files, with limits on what a file may cost."""
