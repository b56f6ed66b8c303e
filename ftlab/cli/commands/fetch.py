"""`python -m ftlab fetch`: the data sets of tutorials, listed and fetched."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from ftlab.cli.terminal.output import as_json, table
from ftlab.core import messages


def fetch(options: Namespace) -> None:
    """Fetch one, with its terms told first; without a name, list them all."""
    from ftlab.data.sources import tutorial_datasets

    if options.name is None:
        _list(options.json)
        return
    row = tutorial_datasets.get(options.name)
    root = Path(options.to).expanduser() if options.to else None
    print(messages.text("cli.terms", title=row.title, terms=row.terms, page=row.page), file=sys.stderr)
    with _Bar() as bar:
        folder = tutorial_datasets.fetch(row, root, bar.move)
    if options.json:
        as_json({"name": row.name, "folder": str(folder)})
    else:
        print(messages.text("cli.fetched", title=row.title, folder=folder))


def _list(json: bool) -> None:
    from ftlab.data.sources import tutorial_datasets

    rows = [(row, tutorial_datasets.find(row)) for row in tutorial_datasets.TABLE.values()]
    for row, found in rows if json else ():
        as_json(
            {**asdict(row), "folder": str(found) if found else None, "by_hand": str(tutorial_datasets.by_hand(row))}
        )
    if not json:
        here, there = messages.text("cli.weights.here"), "cli.weights.download"
        cells = [
            [row.name, row.title, row.pictures, here if found else messages.text(there, megabytes=row.megabytes)]
            for row, found in rows
        ]
        table(["name", "title", "pictures", "data"], cells)


class _Bar:
    """A bar for each of the stages, on a terminal."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None
        self._stage = ""

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def move(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is."""
        if not sys.stderr.isatty():
            return
        if stage != self._stage or self._bar is None:
            self._close()
            sizes = {} if stage == "unpack" else {"unit": "B", "unit_scale": True}
            self._bar = tqdm(desc=messages.text(f"console.{stage}"), file=sys.stderr, leave=False, **sizes)
            self._stage = stage
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
