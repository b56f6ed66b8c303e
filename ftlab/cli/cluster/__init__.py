"""Trainings on a Ray cluster, from the command line: submit one, and drive it within the cluster."""
