"""Image classification data sets: classes, splits and problems, found by scanning files."""
