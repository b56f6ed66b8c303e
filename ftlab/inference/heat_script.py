"""Where the script lies that draws heat maps in a browser, as `heatmap` does in Python; no torch."""

from __future__ import annotations

from pathlib import Path

HEAT_DRAWING_PATH = Path(__file__).with_name("heat_drawing.js")
"""The app's page and exported pages have it."""
