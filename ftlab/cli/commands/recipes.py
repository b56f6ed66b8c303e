"""The command that lists the recipes, and what it says of one."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from ftlab.cli.terminal.output import as_json, table
from ftlab.config import fields
from ftlab.config import recipes as known
from ftlab.core import messages


def recipes(options: Namespace) -> None:
    """All recipes; or what one teaches, what it should reach, and what it sets."""
    rows = [known.get(options.name)] if options.name else list(known.TABLE.values())
    if options.json:
        for row in rows:
            told = {"title": row.title, "teaches": row.teaches, "command": row.command}
            as_json({**asdict(row), **told})
        return
    if options.name is None:
        anything = messages.text("recipe.any_data")
        cells = [[row.name, row.expected, row.data or anything, row.source or anything] for row in rows]
        table(["recipe", "expected", "data", "source"], cells)
        return
    row = rows[0]
    print(f"{row.title}\n{row.teaches}\n{messages.text('recipe.expect', expected=row.expected)}")
    if row.source:
        print(messages.text("recipe.source", source=row.source, page=row.page).strip())
    print(messages.text("recipe.command", command=row.command))
    table(["knob", "value"], [[fields.flag(name), fields.written(value)] for name, value in row.knobs.items()])
