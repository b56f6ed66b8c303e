"""Copies of runs in another place, a folder or a bucket: made while a run trains, and resumed on another machine."""
