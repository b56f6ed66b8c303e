"""Decide from names and listings what the folders of a data set are: classes, splits, wrappers, copies or masks."""
