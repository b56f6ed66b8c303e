"""Pieces of HTML in which text is escaped: the only way by which a person's words get into the page or a report.

A `Markup` is a string that is HTML already; all else is text and is escaped on its way in. Class names, file names
and messages are text. They may go into the *value* of a `gr.HTML` whose template is the plain `${value}`, and
nowhere else: Gradio compiles what a `{{…}}` template gives as a JavaScript template string, so that a class called
`${alert(1)}` would run.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from ftlab.core import messages

_VOID_ELEMENTS = ("br", "img", "input")


class Markup(str):
    """A string that is HTML already."""

    __slots__ = ()


def escape(text: object) -> Markup:
    """Text as HTML, ready for an element's content or a quoted attribute; what is `Markup` already stays.

    Characters that turn the reading direction, of this text and of what follows, are written out.
    """
    if isinstance(text, Markup):
        return text
    visible_text = re.sub(r"[^\n\t]+", lambda match: messages.escape_control_chars(match[0]), str(text))
    return Markup(html.escape(visible_text, quote=True))


def join_html(parts: Iterable[object]) -> Markup:
    """Parts one after the other, each escaped unless it is `Markup`."""
    return Markup("".join(escape(part) for part in parts))


def isolate_text(text: object, *, is_path: bool = False) -> Markup:
    """A name from outside: in one line, and its reading direction stays its own. Of a path, which is read from the
    left, that of each part."""
    return tag("bdi", messages.escape_control_chars(text), dir="ltr" if is_path else None)


def tag(name: str, *content: object, **attributes: object) -> Markup:
    """An element. `class_` writes `class`, `data_x` writes `data-x`; None and False leave an attribute out, True
    writes it without a value."""
    attribute_texts = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        attribute_texts.append(f" {key}" if value is True else f' {key}="{escape(value)}"')
    opening_tag = f"<{name}{''.join(attribute_texts)}>"
    return Markup(opening_tag if name in _VOID_ELEMENTS else f"{opening_tag}{join_html(content)}</{name}>")
