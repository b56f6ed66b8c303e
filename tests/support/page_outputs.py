"""Names of what the page is sent, in the order in which its handlers return it."""

SHOWN = [
    *("summary", "problems", "pictures", "classes", "splits", "page", "gallery", "val", "test", "go", "kept"),
    *("layout", "names", "answered"),
]
"""Outputs of a scan on the Dataset tab."""
