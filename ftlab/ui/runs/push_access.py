"""With whose token a page pushes to the Hugging Face Hub, and what it says where there is none."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ftlab.core import messages
from ftlab.core.html import Markup, isolate_text, join_html, tag
from ftlab.runs.run_table import RunRow
from ftlab.server import routes
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import page_events

_MAX_NAME_CHARS = 60
"""Characters of the name of a repository that is proposed; the Hub takes 96 with its owner's."""


@dataclass(frozen=True)
class PushAccess:
    """Account and token of a push, or why nothing can be pushed.

    Attributes:
        problem: message key below `push` that says why nothing can be pushed; empty if something can.
        account: name of the account that has signed in; empty for the login of this machine's user.
        token: of the account; None for that of this machine's user. In no text that is made of the access.
        can_ask: whether the sign-in can ask for the right to push.
    """

    problem: str = ""
    account: str = ""
    token: str | None = field(default=None, repr=False)
    can_ask: bool = False


def find_push_access(profile: ServerProfile) -> PushAccess:
    """Return with whose token the sender of the event pushes.

    Args:
        profile: profile of the server.

    Returns:
        On a Space the account that has signed in, and never a token of the Space's owner; elsewhere the login of this
        machine's user, whose rights `RunAction.PUSH` guards.
    """
    if not profile.is_space:
        return PushAccess()
    if profile.sign_in is None:
        return PushAccess("no_sign_in")
    can_ask, account = profile.sign_in.can_ask_to_push, page_events.get_account()
    if account is not None and account.can_push:
        return PushAccess("", account.name, account.access_token, can_ask)
    if not can_ask:
        return PushAccess("not_asked")
    return PushAccess("no_scope" if account else "signed_out", can_ask=True)


def render_access(access: PushAccess) -> Markup:
    """Return with whose token a push is made, or what is missing, with the link to it.

    Args:
        access: of who looks at the page.

    Returns:
        A paragraph.
    """
    if access.account:
        return tag("p", messages.get_text("push.account"), " ", tag("b", isolate_text(access.account)), class_="sub")
    if not access.problem:
        return tag("p", messages.get_text("push.machine"), class_="sub")
    parts: list[object] = [messages.get_text(f"push.{access.problem}")]
    if access.can_ask:
        parts += [" ", tag("a", messages.get_text("push.allow"), href=f"{routes.SIGN_IN_PATH}?{routes.PUSH_QUERY}=1")]
    return tag("p", join_html(parts), class_="sub")


def propose_repository(access: PushAccess, row: RunRow) -> str:
    """Return the name of a repository for a run; empty where nobody has signed in.

    Args:
        access: of who looks at the page.
        row: of the run.

    Returns:
        `USER/NAME` with characters that the Hub takes.
    """
    if not access.account:
        return ""
    data_name = re.split(r"[/\\]", row.data.rstrip("/"))[-1]
    text = row.title or f"{data_name}-{row.backbone}"
    # The Hub takes neither two hyphens nor two dots in a row, and neither at an end.
    name = re.sub(r"[^A-Za-z0-9_]+", "-", text)[:_MAX_NAME_CHARS].strip("-") or "model"
    return f"{access.account}/{name}"
