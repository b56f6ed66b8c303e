"""Progress of an export or push on the page, which both parts of the Export panel show alike."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from ftlab.core import messages
from ftlab.core.html import Markup, tag
from ftlab.runs.jobs.export_job import ExportState
from ftlab.ui.common import run_status_view


def follow_export(
    states: Generator[ExportState, None, None], build_updates: Callable[[ExportState], list[Any]]
) -> Generator[list[Any], None, ExportState]:
    """Show the page each new state of an export or push while it goes on; it ends when this iterator is closed.

    Args:
        states: of `export_job.run_export`.
        build_updates: makes updates of a state.

    Yields:
        Updates.

    Returns:
        The last state.
    """
    state = ExportState()
    with closing(states):
        yield build_updates(state)
        for new_state in states:
            if new_state != state and not (new_state.answer or new_state.error):
                yield build_updates(new_state)
            state = new_state
    return state


def render_progress(state: ExportState, arguments: list[str], title_key: str = "export.title") -> Markup:
    """Return the status of an export or push that goes on.

    Args:
        state: how far it is.
        arguments: of its command, as people see them.
        title_key: message key of what is done.
    """
    text, fraction = messages.get_text("export.starting"), -1.0
    if state.upload_bytes:
        text = messages.get_text("push.uploading", megabytes=state.upload_bytes / 1e6)
    elif state.total:
        text = messages.get_text("export.comparing", done=state.completed, total=state.total)
        fraction = state.completed / state.total
    title, command = messages.get_text(title_key), render_command(arguments)
    return run_status_view.render_card("waiting", title, text, fraction, footer=command)


def render_command(arguments: list[str]) -> Markup:
    """Return the command line of an export or push, as a paragraph."""
    return tag("p", tag("code", shlex.join(["python", "-m", "ftlab", *arguments])), class_="sub")
