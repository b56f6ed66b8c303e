"""Run directories: written by a training process, read by the page, the command line and reports. Imports no torch."""
