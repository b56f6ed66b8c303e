"""What a person calls a run, and notes on it: `about.json` in its folder. The name of the folder stays its own. No
torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ftlab.core.errors import RunError
from ftlab.runs.directory import Run

NOTES_FILE = "about.json"
MAX_TITLE_CHARS, MAX_NOTES_CHARS = 80, 4000
"""Characters of a title, which is one line, and of notes."""


@dataclass(frozen=True)
class RunNotes:
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


def read_notes(run: Run) -> RunNotes:
    """What stands there. A file that is damaged, or was written by hand, hides no run: what does not do is left out."""
    try:
        values = run.read_json(NOTES_FILE)
    except RunError:
        return RunNotes()
    return RunNotes(_normalize_title(values.get("title"))[:MAX_TITLE_CHARS], _normalize_notes(values.get("notes"))[:MAX_NOTES_CHARS])


def write_notes(run: Run, *, title: str | None = None, notes: str | None = None) -> RunNotes:
    """Give a run a title, notes, or both; None leaves what stands there. An empty one takes it away.

    Raises:
        RunError: one is too long; there is no such run any more; the folder cannot be written.
    """
    old_notes = read_notes(run)
    new_notes = RunNotes(old_notes.title if title is None else _normalize_title(title), old_notes.notes if notes is None else _normalize_notes(notes))
    for kind, text, max_chars in (("title", new_notes.title, MAX_TITLE_CHARS), ("notes", new_notes.notes, MAX_NOTES_CHARS)):
        if len(text) > max_chars:
            raise RunError(f"run.long_{kind}", most=max_chars, count=len(text))
    if not run.path.is_dir():
        raise RunError("run.gone", run=run.name)
    if new_notes != old_notes:
        run.write_json(NOTES_FILE, asdict(new_notes))
    return new_notes


def _normalize_title(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _normalize_notes(value: Any) -> str:
    text = value.replace("\r\n", "\n").replace("\r", "\n") if isinstance(value, str) else ""
    return "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")
