"""HTML of an evaluation: pieces that the web page shows too, and a standalone document made of them."""

from __future__ import annotations

from pathlib import Path

PARTS_CSS_PATH = Path(__file__).parent / "parts.css"
"""Style sheet of the pieces. Colours come from CSS variables, which the web page and the document each define."""

DOCUMENT_CSS_PATH = Path(__file__).parent / "document.css"
"""Style sheet of standalone documents: text, and the colours that the pieces use, light and dark."""
