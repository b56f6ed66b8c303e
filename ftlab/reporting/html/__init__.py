"""What an evaluation found, as HTML: pieces that the page shows too, and a document of them that stands alone."""

from __future__ import annotations

from pathlib import Path

PARTS_CSS_PATH = Path(__file__).parent / "parts.css"
"""How the pieces look, on the page and in a document. Colours come from variables that each of the two sets."""
