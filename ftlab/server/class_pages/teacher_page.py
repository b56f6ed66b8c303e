"""The teacher's page and the projector, in plain HTML; their scripts fill in what changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ftlab.config.backbones import BACKBONES
from ftlab.config.train_config import MODES
from ftlab.core import messages
from ftlab.core.html import Markup, isolate_text, join_html, tag
from ftlab.server import routes
from ftlab.server.class_pages.class_board import list_uploads, make_upload_key
from ftlab.server.class_pages.invitation import format_join_url
from ftlab.server.class_pages.join_address import render_qr_code
from ftlab.server.class_pages.join_page import render_document
from ftlab.server.people.lesson_rules import format_backbones, format_modes
from ftlab.server.people.membership import Membership
from ftlab.server.people.person import Person
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile

MAX_OPEN_CHOICES = 8
"""Choices of a group that are seen at once; longer lists are folded."""
SCRIPT_TEXTS = (
    *(
        "nobody",
        "no_results",
        "readmit",
        "close_room",
        "open_room",
        "no_queue",
        "teacher_mark",
        "run_count",
        "run_count_one",
        "no_run",
        "remove",
        "stop",
    ),
    *("share", "unshare", "project", "unproject", "is_projected", "unreachable", "remove_sure", "end_sure", "pause"),
    *("allow", "take_back", "none_handed", "by", "more", "all_allowed", "some_allowed", "so_far"),
)
"""Messages below `class.` that the script of the teacher's page shows."""


def render_teacher_page(profile: ServerProfile, membership: Membership, person: Person, page_address: str) -> str:
    """Return the teacher's page.

    Args:
        profile: profile of the server.
        membership: of the server.
        person: who leads.
        page_address: address of the server for students.

    Returns:
        A whole HTML document.
    """
    body = tag(
        "main",
        _render_top(person),
        tag("p", "", id="said", role="status"),
        _render_join_card(membership, page_address),
        tag("div", _render_class_column(), _render_rules_column(profile, membership, person), class_="columns"),
        data_texts=json.dumps(_list_script_texts()),
        data_path=routes.TEACHER_PATH,
    )
    return render_document(messages.get_text("class.teacher_title"), body, "teacher")


def _list_script_texts() -> dict[str, str]:
    """Return the messages of the script, which fills in the values itself."""
    return {key: messages.get_text(f"class.{key}", count="{count}", name="{name}") for key in SCRIPT_TEXTS}


def _render_top(person: Person) -> Markup:
    return tag(
        "header",
        tag(
            "div",
            tag("h1", messages.get_text("class.teacher_title")),
            tag("p", messages.get_text("class.signed_in"), " ", isolate_text(person.name), class_="who"),
        ),
        tag(
            "nav",
            tag("button", messages.get_text("class.pause"), type="button", id="pause"),
            tag("button", messages.get_text("class.stop_all"), type="button", id="stop-all"),
            tag(
                "a",
                messages.get_text("class.open_projector"),
                href=routes.PROJECTOR_PATH,
                target="_blank",
                class_="button",
            ),
            tag("a", messages.get_text("class.open_app"), href="/", class_="button"),
        ),
    )


def _render_join_card(membership: Membership, page_address: str) -> Markup:
    """Return how to join: address, room code and QR code, to be read from the back of a room."""
    is_classroom = membership.kind is ProfileKind.CLASSROOM
    address = page_address if is_classroom else format_join_url(page_address)
    facts = [
        tag("span", messages.get_text("class.address"), class_="label"),
        tag("b", address.removeprefix("http://").rstrip("/"), class_="address"),
    ]
    if is_classroom:
        facts += [
            tag("span", messages.get_text("class.room_code"), class_="label"),
            tag("b", membership.room_code, class_="code"),
        ]
    teacher_code = tag(
        "details",
        tag("summary", messages.get_text("class.teacher_code")),
        tag("p", tag("b", membership.teacher_code), " ", messages.get_text("class.teacher_code_about")),
    )
    qr_address = format_join_url(page_address, membership.room_code) if is_classroom else page_address
    return tag(
        "section",
        tag("div", *facts, teacher_code, class_="facts"),
        tag("div", render_qr_code(qr_address), class_="qr-frame", role="img", aria_label=qr_address),
        class_="card joining",
    )


def _render_section(key: str, *content: object, count_id: str = "") -> Markup:
    count = tag("span", "", id=count_id, class_="count") if count_id else ""
    return tag("section", tag("h2", messages.get_text(f"class.{key}_title"), " ", count), *content, class_="card")


def _render_class_column() -> Markup:
    return tag(
        "div",
        _render_section(
            "roster",
            tag("ul", "", id="members", class_="rows"),
            tag("p", messages.get_text("class.nobody"), id="nobody", class_="note", hidden=True),
            tag(
                "div",
                tag("h3", messages.get_text("class.barred_title")),
                tag("ul", "", id="barred", class_="rows"),
                id="barred-section",
                hidden=True,
            ),
            tag("p", tag("button", messages.get_text("class.close_room"), type="button", id="close-room")),
            count_id="member-count",
        ),
        _render_section("queue", tag("ol", "", id="queue", class_="rows"), count_id="queue-count"),
        _render_section("results", tag("ul", "", id="runs", class_="rows"), count_id="run-count"),
        class_="wide",
    )


def _render_rules_column(profile: ServerProfile, membership: Membership, person: Person) -> Markup:
    sections = [_render_locks(), _render_handing(profile, person)]
    if membership.kind is ProfileKind.CLASSROOM:
        sections.append(_render_end())
    return tag("div", *sections, class_="narrow")


def _render_locks() -> Markup:
    form = tag(
        "form",
        tag("p", messages.get_text("class.locks_about")),
        _render_choices("modes", [(format_modes([name]), name) for name in MODES]),
        _render_choices("backbones", [(format_backbones([name]), name) for name in BACKBONES]),
        _render_choices("sources", ()),
        tag("label", messages.get_text("class.max_epochs"), for_="max-epochs"),
        tag("input", id="max-epochs", name="max_epochs", type="number", min="0", max="10000", value="0"),
        tag("button", messages.get_text("class.lock"), type="submit"),
        id="locks",
    )
    return _render_section("locks", form)


def _render_choices(name: str, choices: Sequence[tuple[str, str]]) -> Markup:
    boxes = (
        tag("label", tag("input", type="checkbox", name=name, value=value), " ", title, class_="tick")
        for title, value in choices
    )
    group_title, list_of_boxes = messages.get_text(f"class.{name}"), tag("div", join_html(boxes), id=name)
    if len(choices) > MAX_OPEN_CHOICES:
        return tag(
            "details", tag("summary", tag("b", group_title), " ", tag("span", "", class_="chosen")), list_of_boxes
        )
    return tag("fieldset", tag("legend", group_title), list_of_boxes)


def _render_handing(profile: ServerProfile, person: Person) -> Markup:
    fields: list[object] = [tag("p", messages.get_text("class.handing_about"))]
    uploads = [tag("option", path.name, value=make_upload_key(token)) for token, path in list_uploads(person)]
    if profile.data_root is not None:
        folders = [tag("option", "", value=name) for name in list_folders(profile.data_root)]
        fields += [
            tag("label", messages.get_text("class.folder"), for_="folder"),
            tag("input", id="folder", name="folder", list="folders", autocomplete="off"),
            tag("datalist", *folders, id="folders"),
        ]
    if uploads:
        fields += [
            tag("label", messages.get_text("class.upload"), for_="upload"),
            tag("select", tag("option", "–", value=""), *uploads, id="upload", name="upload"),
        ]
    elif profile.data_root is None:
        fields.append(tag("p", messages.get_text("class.upload_first"), class_="hint"))
    if uploads or profile.data_root is not None:
        fields += [
            tag("label", messages.get_text("class.dataset_title"), for_="title"),
            tag("input", id="title", name="title", maxlength="40", autocomplete="off"),
            tag("button", messages.get_text("class.hand"), type="submit"),
        ]
    return _render_section("handing", tag("ul", "", id="handed", class_="rows"), tag("form", *fields, id="handing"))


def list_folders(data_root: Path, limit: int = 200) -> list[str]:
    """Return the names of the folders directly below the data root, in order.

    Args:
        data_root: folder below which images are allowed.
        limit: the most names.
    """
    try:
        names = sorted(path.name for path in data_root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []
    return names[:limit]


def _render_end() -> Markup:
    return _render_section(
        "end",
        tag("p", messages.get_text("class.end_about")),
        tag("a", messages.get_text("class.save_zip"), href=f"{routes.TEACHER_PATH}/lesson.zip", class_="button"),
        tag(
            "form",
            tag(
                "label",
                tag("input", type="checkbox", id="is-saved"),
                " ",
                messages.get_text("class.zip_is_saved"),
                class_="tick",
            ),
            tag("button", messages.get_text("class.end"), type="submit", class_="danger", disabled=True),
            id="end",
        ),
    )


def render_projector(membership: Membership, page_address: str, curves_style: str) -> str:
    """Return the page for the projector: how to join, or the result that the teacher has chosen.

    Args:
        membership: of the server.
        page_address: address of the server for students.
        curves_style: style sheet of the curves.

    Returns:
        A whole HTML document.
    """
    joining = tag(
        "section",
        tag("div", tag("h1", messages.get_text("class.join_title")), _render_join_card(membership, page_address)),
        id="joining",
    )
    result = tag(
        "section",
        tag(
            "header",
            tag("div", tag("h1", "", id="title", dir="auto"), tag("p", "", id="about", dir="auto")),
            tag("b", "", id="accuracy"),
        ),
        tag("div", "", id="curves"),
        id="result",
        hidden=True,
    )
    body = tag("main", joining, result, data_path=f"{routes.TEACHER_PATH}/projected")
    return render_document(messages.get_text("class.projector_title"), body, "projector", extra_style=curves_style)
