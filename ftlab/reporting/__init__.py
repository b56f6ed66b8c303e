"""Figures for files, and the HTML of evaluations: pieces for the web page and a standalone report."""
