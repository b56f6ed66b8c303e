"""Sample data sets that are drawn on this machine."""
