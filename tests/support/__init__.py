"""Helpers of the tests: images, runs, servers and stand-ins for processes."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""
