"""The pieces of `ftlab.core.html` and those that look as the page does."""

from __future__ import annotations

from ftlab.core import messages
from ftlab.core.html import Markup, escape, isolated, join, tag

__all__ = ["Markup", "empty", "escape", "isolated", "join", "tag", "trouble"]


def empty(title: str, step: str) -> Markup:
    """What stands where nothing is yet: what is missing, and the next step. Both are keys of the words."""
    return tag(
        "div",
        tag("p", messages.text(title), class_="ftlab-empty-title"),
        tag("p", messages.text(step)),
        class_="ftlab-empty",
    )


def trouble(*sentences: object) -> Markup:
    """A mistake and its remedy, one clear line."""
    return tag("div", *sentences, class_="ftlab-trouble", role="alert")
