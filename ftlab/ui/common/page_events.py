"""Sender and data of an event of the page, which come besides the values of its inputs."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ftlab.server.admission import Ticket
from ftlab.server.middleware import TICKET_KEY


def get_visitor_name(request: gr.Request | None) -> str:
    """Return the name of the visitor who sent an event; empty where it did not come by the middleware."""
    scope = getattr(getattr(request, "request", None), "scope", None)
    ticket = scope.get(TICKET_KEY) if isinstance(scope, dict) else None
    return ticket.visitor.name if isinstance(ticket, Ticket) else ""


def get_event_data(event: gr.EventData) -> dict[str, Any]:
    """Return what the script of a component has sent; empty for anything else that a program may send."""
    return event._data if isinstance(event._data, dict) else {}


def get_pressed_index(event: gr.EventData) -> Any:
    """Return the number of what was pressed, which may be anything."""
    return get_event_data(event).get("index")
