"""The pieces of `ftlab.core.html` and those that look as the page does."""

from __future__ import annotations

from ftlab.core import messages
from ftlab.core.html import Markup, tag


def render_empty_state(title_key: str, step_key: str) -> Markup:
    """What stands where nothing is yet: what is missing, and the next step. Both are keys of the words."""
    return tag(
        "div",
        tag("p", messages.get_text(title_key), class_="ftlab-empty-title"),
        tag("p", messages.get_text(step_key)),
        class_="ftlab-empty",
    )


def render_error(*sentences: object) -> Markup:
    """A mistake and its remedy, one clear line."""
    return tag("div", *sentences, class_="ftlab-trouble", role="alert")
