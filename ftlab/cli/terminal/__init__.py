"""Output of the command line: progress bars and tables."""
