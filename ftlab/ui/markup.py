"""The pieces of `ftlab.markup` and those that look as the page does."""

from __future__ import annotations

from ftlab import words
from ftlab.markup import Markup, escape, isolated, join, tag

__all__ = ["Markup", "empty", "escape", "isolated", "join", "tag", "trouble"]


def empty(title: str, step: str) -> Markup:
    """What stands where nothing is yet: what is missing, and the next step. Both are keys of the words."""
    return tag(
        "div",
        tag("p", words.text(title), class_="ftlab-empty-title"),
        tag("p", words.text(step)),
        class_="ftlab-empty",
    )


def trouble(*sentences: object) -> Markup:
    """A mistake and its remedy, one clear line."""
    return tag("div", *sentences, class_="ftlab-trouble", role="alert")
