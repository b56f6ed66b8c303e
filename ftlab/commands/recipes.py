"""The command that lists the recipes, and what it says of one."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from ftlab import knobs, words
from ftlab import recipes as known
from ftlab.printing import as_json, table


def recipes(options: Namespace) -> None:
    """All recipes; or what one teaches, what it should reach, and what it sets."""
    rows = [known.get(options.name)] if options.name else list(known.TABLE.values())
    if options.json:
        for row in rows:
            told = {"title": row.title, "teaches": row.teaches, "command": row.command}
            as_json({**asdict(row), **told})
        return
    if options.name is None:
        anything = words.text("recipe.any_data")
        cells = [[row.name, row.expected, row.data or anything, row.source or anything] for row in rows]
        table(["recipe", "expected", "data", "source"], cells)
        return
    row = rows[0]
    print(f"{row.title}\n{row.teaches}\n{words.text('recipe.expect', expected=row.expected)}")
    if row.source:
        print(words.text("recipe.source", source=row.source, page=row.page).strip())
    print(words.text("recipe.command", command=row.command))
    table(["knob", "value"], [[knobs.flag(name), knobs.written(value)] for name, value in row.knobs.items()])
