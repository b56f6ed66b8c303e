"""HTML fragments with escaped text: the only way by which user text gets into the page or a report.

A `Markup` is a string that is HTML already; all other values are text and are escaped on insertion. Class names, file
names and messages are text. They may go into the *value* of a `gr.HTML` whose template is the plain `${value}`, and
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
    """A string that is HTML already and is not escaped again."""

    __slots__ = ()


def escape(text: object) -> Markup:
    """Return text as HTML for an element's content or a quoted attribute; `Markup` is returned unchanged.

    Characters that change the reading direction, of this text or of what follows, are written out.
    """
    if isinstance(text, Markup):
        return text
    visible_text = re.sub(r"[^\n\t]+", lambda match: messages.escape_control_chars(match[0]), str(text))
    return Markup(html.escape(visible_text, quote=True))


def join_html(parts: Iterable[object]) -> Markup:
    """Return the concatenated parts, each escaped unless it is `Markup`."""
    return Markup("".join(escape(part) for part in parts))


def isolate_text(text: object, *, is_path: bool = False) -> Markup:
    """Return an external name as one line of HTML whose reading direction does not affect its surroundings.

    Args:
        text: a name from outside, such as a class or a file.
        is_path: whether it is a path: it runs from left to right, and only its parts have a direction of their own.

    Returns:
        A `<bdi>` element.
    """
    return tag("bdi", messages.escape_control_chars(text), dir="ltr" if is_path else None)


def tag(name: str, /, *content: object, **attributes: object) -> Markup:
    """Return an HTML element.

    Args:
        name: of the element.
        *content: children, escaped unless they are `Markup`.
        **attributes: `class_` writes `class`, `data_x` writes `data-x`; None and False leave an attribute out, True
            writes it without a value.

    Returns:
        The element with its content, or the opening tag alone for a void element.
    """
    attribute_texts = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")  # `class_`, because `class` is a keyword of Python
        attribute_texts.append(f" {key}" if value is True else f' {key}="{escape(value)}"')
    opening_tag = f"<{name}{''.join(attribute_texts)}>"
    return Markup(opening_tag if name in _VOID_ELEMENTS else f"{opening_tag}{join_html(content)}</{name}>")
