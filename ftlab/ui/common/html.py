"""Pieces of HTML in the style of the page, used by all tabs."""

from __future__ import annotations

from ftlab.core import messages
from ftlab.core.html import Markup, tag


def render_empty_state(title_key: str, step_key: str) -> Markup:
    """Render a placeholder where there is nothing to show yet.

    Args:
        title_key: message key of what is missing.
        step_key: message key of the next step.

    Returns:
        The placeholder.
    """
    return tag(
        "div",
        tag("p", messages.get_text(title_key), class_="ftlab-empty-title"),
        tag("p", messages.get_text(step_key)),
        class_="ftlab-empty",
    )


def render_error(*sentences: object) -> Markup:
    """Return an error with its remedy, in one line."""
    return tag("div", *sentences, class_="ftlab-trouble", role="alert")
