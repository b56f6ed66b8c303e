"""Sources of data sets: folders, zip and tar archives, and downloads."""
