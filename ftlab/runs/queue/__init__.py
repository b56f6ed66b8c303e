"""The queue of trainings: who is next, on which device, and how long each one waits. No torch, no gradio.

A queued run is a run directory with a marker (`queued`), so the run directories stay the truth. The database beside the
runs is a lock for all processes of this machine and remembers whose turn it was; without it, no run is lost.
"""
