"""Sender, data, progress bar and short messages of an event of the page, besides the values of its inputs."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import LocalContext
from gradio.utils import get_upload_folder

from ftlab.core import messages
from ftlab.server.accounts.account_store import Account
from ftlab.server.admission import TICKET_KEY, Ticket
from ftlab.server.people.person import Person, make_stranger
from ftlab.server.profile import ServerProfile


def get_person(profile: ServerProfile) -> Person:
    """Return who sent the event that is being handled, as the server knows them.

    Args:
        profile: profile of the server.

    Returns:
        The person; outside of an event that came by the server's middleware, the host of a server for one person, and
        on other servers a stranger, who may do nothing.
    """
    ticket = _find_ticket()
    return ticket.visitor.person if ticket is not None else make_stranger(profile.kind)


def get_account() -> Account | None:
    """Return the account with which the sender of the event that is being handled is signed in, with its token.

    Returns:
        The account; None where nobody has signed in. The token opens the account's part of the Hub: it belongs into
        no text, file or environment of another process.
    """
    ticket = _find_ticket()
    return ticket.visitor.account if ticket is not None else None


def get_sender() -> tuple[str, str]:
    """Return whom and which address the event that is being handled is counted for; empty outside of a server."""
    ticket = _find_ticket()
    return (ticket.visitor.name, ticket.visitor.address) if ticket is not None else ("", "")


def find_scope() -> dict[str, Any] | None:
    """Return the ASGI scope of the request with the event that is being handled; None outside of a server."""
    # Gradio sets it for each call of a handler: no handler can forget to ask, or be told another sender by the page.
    request = LocalContext.request.get(None)
    # A call by MCP has the server's own request there, any other one Gradio's around it.
    scope = getattr(getattr(request, "request", request), "scope", None)
    return scope if isinstance(scope, dict) else None


def _find_ticket() -> Ticket | None:
    ticket = (find_scope() or {}).get(TICKET_KEY)
    return ticket if isinstance(ticket, Ticket) else None


def get_download_folder(profile: ServerProfile) -> Path:
    """Return the folder for files that are made for whoever sent the event; it need not exist.

    Gradio sends any file below its uploads folder. So each person has a folder of their own there, whose name the
    server gives to nobody else (`ftlab.server.redaction`).

    Args:
        profile: profile of the server.

    Returns:
        A folder directly below the uploads folder.
    """
    return Path(get_upload_folder()) / f"made-{get_person(profile).owner[:32]}"


def get_event_data(event: gr.EventData) -> dict[str, Any]:
    """Return what the script of a component has sent; empty for anything else that a program may send."""
    return event._data if isinstance(event._data, dict) else {}


def get_pressed_index(event: gr.EventData) -> Any:
    """Return the number of what was pressed, which may be anything."""
    return get_event_data(event).get("index")


def throttle_progress(progress: gr.Progress, message_key: str = "dataset.progress") -> Callable[[int, int], None]:
    """Return a callback (done, total) that updates the page's progress bar at most ten times a second.

    Args:
        progress: progress bar of the page.
        message_key: message key of its text.

    Returns:
        The callback.
    """
    last_update = 0.0

    def report_progress(done_count: int, total: int) -> None:
        nonlocal last_update
        if time.monotonic() - last_update > 0.1:
            last_update = time.monotonic()
            progress(
                done_count / max(total, 1),
                desc=messages.get_text(message_key, done=f"{done_count:,}", total=f"{total:,}"),
            )

    return report_progress


def show_warning(text: object) -> None:
    """Show a sentence over the page that says what was not done.

    Args:
        text: the sentence, or the error whose message it is.
    """
    # Gradio shows it as HTML, and names in it are other people's.
    gr.Warning(html.escape(str(text), quote=False))


def show_notice(text: str, *, seconds: float = 10.0) -> None:
    """Show a sentence over the page that says what was done.

    Args:
        text: the sentence.
        seconds: for which it stays.
    """
    gr.Info(html.escape(str(text), quote=False), duration=seconds)
