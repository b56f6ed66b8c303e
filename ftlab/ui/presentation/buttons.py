"""Buttons for a presentation: the size of the page, and the full screen. `static/presentation.js` listens to them."""

from __future__ import annotations

from ftlab.core import messages
from ftlab.core.html import Markup, tag

_CORNERS = "M1.5 5.5v-4h4M10.5 1.5h4v4M14.5 10.5v4h-4M5.5 14.5h-4v-4"
"""Path of the icon, four corners of a frame of 16 × 16; drawn, because few fonts have the character."""


def render_size_button() -> Markup:
    """Return the switch of the presentation size, which the browser remembers."""
    label = messages.get_text("page.large")
    return tag(
        "button",
        tag("small", "A"),
        "A",
        type="button",
        class_="ftlab-size",
        aria_pressed="false",
        aria_label=label,
        title=label,
    )


def render_full_screen_button(element_id: str) -> Markup:
    """Return a button that shows one element of the page on the full screen, and ends that when it is pressed again.

    Args:
        element_id: of the element, which contains the button.
    """
    label = messages.get_text("page.full_screen")
    icon = tag("svg", tag("path", d=_CORNERS), viewBox="0 0 16 16", width="16", height="16", aria_hidden="true")
    return tag(
        "button",
        icon,
        type="button",
        class_="ftlab-full-screen",
        data_element=element_id,
        aria_label=label,
        title=label,
    )
