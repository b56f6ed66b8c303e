"""Figures for files and the HTML of evaluations and comparisons."""
