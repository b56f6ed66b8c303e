"""Run directories: what a training writes and everybody else reads. Imports no torch."""
