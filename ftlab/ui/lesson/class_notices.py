"""What the page shows of a class: who one is, with a way out, and what is locked; nothing for one person alone."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.context import Context

from ftlab.core import messages
from ftlab.core.html import Markup, isolate_text, tag
from ftlab.server import routes
from ftlab.server.accounts.account_store import Account
from ftlab.server.people.lesson_rules import LessonRules, describe_locks
from ftlab.server.people.person import Person
from ftlab.server.people.rights import Role
from ftlab.server.profile import ServerProfile
from ftlab.ui.common.page_events import get_account, get_person

REFRESH_SECONDS = 10.0
"""Seconds between two looks at what the teacher has decided, while a page is open."""
_UNQUEUED_EVENT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
_LEAVE_JS = """
element.addEventListener('click', async (event) => {
  const button = event.target.closest('button[data-leave]');
  if (!button || !confirm(button.dataset.sure)) return;
  const answer = await fetch(button.dataset.leave, {
    method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}',
  });
  location.assign((await answer.json()).location);
});
"""
"""Leaves the class, and goes where the server says."""


def build_identity(profile: ServerProfile) -> None:
    """Build the line of the header that says who one is; nothing on a server for one person.

    Args:
        profile: profile of the server.
    """
    if profile.is_local:
        return
    line = gr.HTML(elem_id="page-who", apply_default_css=False, js_on_load=_LEAVE_JS)
    sign_in_path = routes.SIGN_IN_PATH if profile.sign_in is not None else ""
    _get_page().load(
        lambda: render_identity(get_person(profile)) + render_account(get_account(), sign_in_path),
        None,
        line,
        **_UNQUEUED_EVENT,
    )


def render_account(account: Account | None, sign_in_path: str) -> Markup:
    """Render with which account somebody is signed in and how to sign out, or how to sign in.

    Args:
        account: of who looks at the page.
        sign_in_path: route of the sign-in; empty where there is none.

    Returns:
        A paragraph; empty where nobody can sign in.
    """
    if not sign_in_path:
        return Markup("")
    if account is None:
        link = tag("a", messages.get_text("sign_in.do"), href=sign_in_path, title=messages.get_text("sign_in.about"))
        return tag("p", link, class_="ftlab-who")
    sign_out_button = _render_leave_button("sign_in.sign_out", routes.SIGN_OUT_PATH)
    return tag("p", tag("b", isolate_text(account.name)), sign_out_button, class_="ftlab-who")


def render_identity(person: Person) -> Markup:
    """Render who somebody is, and how to leave.

    Args:
        person: who looks at the page.

    Returns:
        A paragraph; empty for somebody without a name.
    """
    if person.role not in (Role.TEACHER, Role.STUDENT):
        return Markup("")
    link = (
        tag("a", messages.get_text("class.teacher_title"), href=routes.TEACHER_PATH)
        if person.role is Role.TEACHER
        else ""
    )
    leave_button = _render_leave_button("class.leave", routes.LEAVE_PATH)
    role = tag("span", messages.get_text(f"class.role.{person.role.value}"), class_="role")
    return tag("p", tag("b", isolate_text(person.name)), role, link, leave_button, class_="ftlab-who")


def _render_leave_button(message_key: str, path: str) -> Markup:
    """Return a button that asks whether somebody is sure (`…_sure` of the messages), and then posts to a route."""
    return tag(
        "button",
        messages.get_text(message_key),
        type="button",
        data_leave=path,
        data_sure=messages.get_text(f"{message_key}_sure"),
    )


def build_lesson_notice(profile: ServerProfile) -> None:
    """Build the line above Start that says what the teacher has locked; nothing on a server for one person.

    Args:
        profile: profile of the server.
    """
    if profile.is_local:
        return
    notice = gr.HTML(elem_id="train-lesson", apply_default_css=False)
    timer = gr.Timer(REFRESH_SECONDS)
    for event in (_get_page().load, timer.tick):
        event(lambda: render_lesson_notice(profile, get_person(profile)), None, notice, **_UNQUEUED_EVENT)


def render_lesson_notice(profile: ServerProfile, person: Person) -> Markup:
    """Render what is locked.

    Args:
        profile: profile of the server.
        person: who looks at the page; a teacher is not bound, and is told so.

    Returns:
        A paragraph; empty where everything is allowed.
    """
    sentences = describe_locks(LessonRules(profile.runs_dir).read())
    if not sentences:
        return Markup("")
    if person.leads:
        sentences.append(messages.get_text("lesson.not_bound"))
    return tag("p", " ".join(sentences), class_="ftlab-notice", role="status")


def _get_page() -> gr.Blocks:
    page = Context.root_block
    assert isinstance(page, gr.Blocks), "built inside a page"
    return page
