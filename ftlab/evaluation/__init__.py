"""Evaluation of a model on labelled images: metrics, calibration, and which images it gets wrong."""
