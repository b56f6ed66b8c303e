"""Trainings on a cluster of machines: its address, and what a run directory says of its job there. No torch, no Ray."""
