"""Menus whose choices the server sends while a page is open: values that Gradio no longer knows go on to the handlers.

Gradio keeps the choices that it has sent for the last open pages only, and refuses what is not among those that it
knows. A page that is older than that would get an error for its own run. The handlers check each value themselves, as
programs may send any, so what Gradio does not know is passed on where it is plain.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gradio as gr

MAX_VALUE_CHARS, MAX_VALUES = 1000, 10_000
"""Characters of a value that is passed on, and values of a menu in which several can be chosen."""


def pass_unknown_choices() -> None:
    """Replace the check of Gradio's menus. Repeating it changes nothing."""
    for menu_class in (gr.Dropdown, gr.Radio, gr.CheckboxGroup):
        if not hasattr(menu_class.preprocess, "__wrapped__"):
            menu_class.preprocess = _pass_plain_values(menu_class.preprocess)  # type: ignore[method-assign,assignment]


def is_plain(value: object) -> bool:
    """Return whether a value can be that of a menu whose choices are sent: a short text, or a list of them."""
    values = value if isinstance(value, list) else [value]
    return len(values) <= MAX_VALUES and all(
        isinstance(entry, str) and len(entry) <= MAX_VALUE_CHARS for entry in values
    )


def _pass_plain_values(check_choice: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a `preprocess` of a menu that passes on what only Gradio's list of choices refuses."""

    @functools.wraps(check_choice)
    def preprocess(menu: Any, payload: Any) -> Any:
        try:
            return check_choice(menu, payload)
        except gr.Error:
            takes_several = isinstance(menu, gr.CheckboxGroup) or bool(getattr(menu, "multiselect", False))
            if menu.type != "value" or not is_plain(payload) or isinstance(payload, list) != takes_several:
                raise
            return payload

    return preprocess
