"""Terminal output of the command line: results, progress bars and events."""
