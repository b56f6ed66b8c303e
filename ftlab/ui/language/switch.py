"""The switch of the page's language in its header: a cookie and a fresh page, which keeps what was typed and chosen.

What the page restores anyway when it is loaded (its run, the chosen images) is not kept here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.context import Context

from ftlab.core import messages
from ftlab.core.html import Markup, join_html, tag
from ftlab.server.people.languages import LANGUAGE_COOKIE

SWITCH_JS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[lang]');
  if (!button || button.hasAttribute('aria-current')) return;
  window.ftlabLanguage = button.lang;
  trigger('select', {value: button.lang});
});
"""
"""Script of the header: reports which language was chosen."""
_READ_KEPT_JS = """if (window.ftlabKept === undefined) {
    window.ftlabKept = JSON.parse(sessionStorage.getItem('ftlab-kept') ?? 'null');
    sessionStorage.removeItem('ftlab-kept');
  }"""
"""Takes what the last page has kept, once."""
KEEP_TOUCHED_JS = f"""{_READ_KEPT_JS}
  for (const id of window.ftlabKept?.ids ?? []) touched.add(id);"""
"""Counts the fields that are kept as touched, so that nothing else is put into them."""
_SWITCH_JS = """(...values) => {
  sessionStorage.setItem('ftlab-kept', JSON.stringify({ids: %s, values}));
  const attributes = location.protocol === 'https:' ? 'SameSite=None; Secure' : 'SameSite=Lax';
  document.cookie = `%s=${window.ftlabLanguage}; Path=/; Max-Age=31536000; ${attributes}`;
  location.reload();
}"""
"""Keeps the values for the next page in this tab of the browser, and asks for that page. In the frame of a Space only a
cookie with `SameSite=None` is kept."""
_RESTORE_JS = (
    "() => {\n  "
    + _READ_KEPT_JS
    + """
  const values = window.ftlabKept?.values ?? Array(%d).fill({__type__: 'update'});
  return values.length === 1 ? values[0] : values;
}"""
)
"""Returns the values that the last page has kept, or updates that change nothing."""


def render_switch() -> Markup:
    """Return the names of the languages as HTML, each in its own language; the current one is marked."""
    current = messages.current_language()
    return tag(
        "nav",
        join_html(
            tag(
                "button",
                messages.load_messages(language)["page.language"],
                type="button",
                lang=language,
                aria_current="true" if language == current else None,
            )
            for language in messages.list_languages()
        ),
        class_="ftlab-languages",
        aria_label=messages.get_text("page.language_label"),
    )


def wire_switch(header: gr.HTML, fields: Sequence[Component]) -> None:
    """Register that a chosen language reloads the page, and that the next page has the values of some fields.

    Args:
        header: contains `render_switch`, and runs `SWITCH_JS`.
        fields: fields whose values are kept.
    """
    page = Context.root_block
    assert isinstance(page, gr.Blocks), "built inside a page"
    options: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    element_ids = json.dumps([field.elem_id for field in fields if field.elem_id])
    header.select(None, list(fields), None, js=_SWITCH_JS % (element_ids, LANGUAGE_COOKIE), **options)
    page.load(None, None, list(fields), js=_RESTORE_JS % len(fields), **options)
