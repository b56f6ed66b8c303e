"""A data set: its classes, splits and problems, from a scan of its files."""
