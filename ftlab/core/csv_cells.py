"""Cells of CSV files that are opened in spreadsheet programs, which take some texts for formulas."""

from __future__ import annotations

import re

# Also the full-width forms, which some programs treat alike.
_FORMULA_START = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")


def escape_formula(cell: object) -> object:
    """Return a cell so that no spreadsheet program runs it as a formula.

    A text that begins as a formula does (`=`, `+`, `-`, `@`, a tab or a line end) gets a leading apostrophe; names of
    files and classes come from strangers. Numbers, also those in a text, stay as they are.

    Args:
        cell: of any type.

    Returns:
        The cell, or the text with an apostrophe before it.
    """
    if isinstance(cell, str) and _FORMULA_START.match(cell) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell
