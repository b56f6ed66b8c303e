"""Title and notes that people give a run, and whether they share it (`about.json`). No torch.

The name of the folder stays as it is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ftlab.core.errors import RunError
from ftlab.runs.directory import Run

NOTES_FILE = "about.json"
MAX_TITLE_CHARS, MAX_NOTES_CHARS = 80, 4000
"""Maximum number of characters of a title, which is one line, and of notes."""


@dataclass(frozen=True)
class RunNotes:
    """Title and notes of a run; empty where nobody wrote any.

    Attributes:
        title: one line.
        notes: any number of lines.
        is_shared: everybody who was let into the server may look at the run.
    """

    title: str = ""
    notes: str = ""
    is_shared: bool = False

    @property
    def first_line(self) -> str:
        """The first line of the notes that is not empty."""
        return next((line.strip() for line in self.notes.split("\n") if line.strip()), "")


def read_notes(run: Run) -> RunNotes:
    """Read title and notes of a run.

    A damaged or hand-written file must not hide the run: values that are not usable are left out.

    Args:
        run: the run.

    Returns:
        Its title and notes, cut to their maximum lengths.
    """
    try:
        values = run.read_json(NOTES_FILE)
    except RunError:
        return RunNotes()
    return RunNotes(
        _normalize_title(values.get("title"))[:MAX_TITLE_CHARS],
        _normalize_notes(values.get("notes"))[:MAX_NOTES_CHARS],
        values.get("is_shared") is True,
    )


def write_notes(
    run: Run, *, title: str | None = None, notes: str | None = None, is_shared: bool | None = None
) -> RunNotes:
    """Set the title of a run, its notes, and whether it is shared.

    Args:
        run: the run.
        title: new title; empty to remove it, None to keep it.
        notes: new notes; empty to remove them, None to keep them.
        is_shared: everybody may look at the run; None to leave it as it is.

    Returns:
        Title and notes as stored.

    Raises:
        RunError: a text is too long; the run does not exist any more; the folder cannot be written.
    """
    old_notes = read_notes(run)
    new_notes = RunNotes(
        old_notes.title if title is None else _normalize_title(title),
        old_notes.notes if notes is None else _normalize_notes(notes),
        old_notes.is_shared if is_shared is None else is_shared,
    )
    for kind, text, max_chars in (
        ("title", new_notes.title, MAX_TITLE_CHARS),
        ("notes", new_notes.notes, MAX_NOTES_CHARS),
    ):
        if len(text) > max_chars:
            raise RunError(f"run.long_{kind}", most=max_chars, count=len(text))
    # Checked here because writing would report a missing folder as a failure of the disk.
    if not run.path.is_dir():
        raise RunError("run.gone", run=run.name)
    if new_notes != old_notes:
        run.write_json(NOTES_FILE, asdict(new_notes))
    return new_notes


def _normalize_title(value: Any) -> str:
    """Return a title on one line, with single spaces; empty for anything but text."""
    return " ".join(value.split()) if isinstance(value, str) else ""


def _normalize_notes(value: Any) -> str:
    """Return notes without trailing spaces and outer empty lines, LF as line end; empty for anything but text."""
    # Browsers send the content of a text field with CRLF.
    text = value.replace("\r\n", "\n").replace("\r", "\n") if isinstance(value, str) else ""
    return "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")
