"""Experiment trackers: their series (`tracker_series`), how they open (`open_trackers`), a thread each."""
