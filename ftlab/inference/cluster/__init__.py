"""Prediction on the machines of a cluster."""
