"""What a person calls a run, and notes on it: `about.json` in its folder. The name of the folder stays its own. No
torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ftlab.core.errors import RunError
from ftlab.runs.directory import Run

FILE = "about.json"
TITLE, NOTES = 80, 4000
"""Characters of a title, which is one line, and of notes."""


@dataclass(frozen=True)
class About:
    """What people wrote of a run; empty where nobody did.

    Attributes:
        title: one line.
        notes: any number of lines.
    """

    title: str = ""
    notes: str = ""

    @property
    def first_line(self) -> str:
        """Of the notes, the first line that is not empty."""
        return next((line.strip() for line in self.notes.split("\n") if line.strip()), "")


def read(run: Run) -> About:
    """What stands there. A file that is damaged, or was written by hand, hides no run: what does not do is left out."""
    try:
        told = run.read(FILE)
    except RunError:
        return About()
    return About(_line(told.get("title"))[:TITLE], _lines(told.get("notes"))[:NOTES])


def write(run: Run, *, title: str | None = None, notes: str | None = None) -> About:
    """Give a run a title, notes, or both; None leaves what stands there. An empty one takes it away.

    Raises:
        RunError: one is too long; there is no such run any more; the folder cannot be written.
    """
    before = read(run)
    made = About(before.title if title is None else _line(title), before.notes if notes is None else _lines(notes))
    for kind, text, most in (("title", made.title, TITLE), ("notes", made.notes, NOTES)):
        if len(text) > most:
            raise RunError(f"run.long_{kind}", most=most, count=len(text))
    if not run.path.is_dir():
        raise RunError("run.gone", run=run.name)
    if made != before:
        run.write(FILE, asdict(made))
    return made


def _line(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _lines(value: Any) -> str:
    whole = value.replace("\r\n", "\n").replace("\r", "\n") if isinstance(value, str) else ""
    return "\n".join(line.rstrip() for line in whole.split("\n")).strip("\n")
