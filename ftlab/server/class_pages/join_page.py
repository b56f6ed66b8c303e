"""The page on which somebody joins a class: code and name, in plain HTML that every phone shows."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ftlab.core import messages
from ftlab.core.html import tag
from ftlab.server.people.rights import ProfileKind

_PAGE_DIR = Path(__file__).parent / "pages"


def render_join_page(kind: ProfileKind, *, code: str = "", name: str = "", refusal_key: str = "") -> str:
    """Return the page.

    Args:
        kind: the kind of server; on one that is no class, only teachers join.
        code: text of the code's field.
        name: text of the name's field.
        refusal_key: key below `class.` of what is told at once; empty for nothing.

    Returns:
        A whole HTML document.
    """
    key = "join" if kind is ProfileKind.CLASSROOM else "lead"
    fields = (
        *_render_field("code", code, autocomplete="off", autocapitalize="characters", maxlength="20"),
        *_render_field("name", name, autocomplete="name", maxlength="40"),
    )
    body = tag(
        "main",
        tag("h1", messages.get_text(f"class.{key}_title")),
        tag("p", messages.get_text(f"class.{key}_about")),
        tag(
            "form",
            *fields,
            tag("button", messages.get_text(f"class.{key}_do"), type="submit"),
            tag("p", messages.get_text(f"class.{refusal_key}") if refusal_key else "", id="refusal", role="alert"),
            id="join",
            data_unreachable=messages.get_text("class.unreachable"),
        ),
        tag("p", messages.get_text("class.stays_here"), class_="note"),
    )
    return render_document(messages.get_text(f"class.{key}_title"), body, "join")


def _render_field(field_name: str, value: str, **attributes: str) -> tuple[str, str]:
    """Return label and field."""
    return (
        tag("label", messages.get_text(f"class.{field_name}"), for_=field_name),
        tag("input", id=field_name, name=field_name, value=value, required=True, **attributes),
    )


def render_document(title: str, body: str, page_name: str, *, extra_style: str = "") -> str:
    """Return a document of ftlab's own pages.

    Args:
        title: title of the window.
        body: HTML of the body.
        page_name: name of the script in `pages/`, and of its style sheet, if any.
        extra_style: further style sheet.

    Returns:
        HTML with style and script in it: it asks for nothing else.
    """
    style = _read_page_file("pages.css") + extra_style + _read_page_file(f"{page_name}.css")
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"{tag('title', title)}<style>{style}</style></head>"
        f"<body class=ftlab-{page_name}>{body}<script>{_read_page_file(f'{page_name}.js')}</script></body></html>"
    )


@cache
def _read_page_file(file_name: str) -> str:
    path = _PAGE_DIR / file_name
    return path.read_text(encoding="utf-8") if path.exists() else ""
