"""The rights of each profile: who may do what. The tables of SECURITY.md are made of these."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class ProfileKind(Enum):
    """Whom a server is for.

    Attributes:
        LOCAL: one person, on this machine.
        NETWORK: visitors in a network, told apart by a cookie only.
        CLASSROOM: a class, whose members have joined by a code and a name.
        SPACE: strangers, on a public Hugging Face Space.
    """

    LOCAL = "local"
    NETWORK = "network"
    CLASSROOM = "classroom"
    SPACE = "space"


class Role(Enum):
    """What somebody is to a server.

    Attributes:
        HOST: the person at this machine.
        TEACHER: whoever leads a class, or looks after a server for others: they know its teacher's code.
        STUDENT: somebody who has joined a class by its room code.
        VISITOR: a browser with this server's cookie; nobody knows who it is.
        STRANGER: anybody else: no cookie, or no name in a class.
    """

    HOST = "host"
    TEACHER = "teacher"
    STUDENT = "student"
    VISITOR = "visitor"
    STRANGER = "stranger"


class Action(Enum):
    """What somebody may do on a server."""

    OPEN = "open the page"
    PREDICT = "predict"
    UPLOAD = "upload images"
    START = "start a training"
    LEAD = "open the teacher's page"


class RunAction(Enum):
    """What somebody may do with a run."""

    LOOK = "look, predict with it"
    EXPORT = "export"
    PUSH = "push to the Hugging Face Hub"
    STOP = "stop"
    RESUME = "resume"
    RENAME = "rename, take notes"
    EVALUATE = "evaluate"
    DELETE = "delete, restore, erase"
    SHARE = "share"


class Relation(Enum):
    """What a run is to somebody."""

    OWN = "own"
    SHARED = "shared"
    OTHER = "other"


_ALL, _ALL_OF_RUNS = frozenset(Action), frozenset(RunAction)
_GUEST = frozenset({Action.OPEN, Action.PREDICT, Action.UPLOAD, Action.START})
_PASSER_BY = _GUEST - {Action.START}
_NOTHING: frozenset[Action] = frozenset()

RIGHTS: Mapping[ProfileKind, Mapping[Role, frozenset[Action]]] = {
    ProfileKind.LOCAL: {Role.HOST: _ALL},
    # Programs and some frames send no cookie: without one, nobody would find their own run again.
    ProfileKind.NETWORK: {
        Role.TEACHER: _ALL,
        Role.VISITOR: _GUEST,
        Role.STRANGER: _PASSER_BY,
    },
    ProfileKind.CLASSROOM: {Role.TEACHER: _ALL, Role.STUDENT: _GUEST, Role.STRANGER: _NOTHING},
    ProfileKind.SPACE: {
        Role.TEACHER: _ALL,
        Role.VISITOR: _GUEST,
        Role.STRANGER: _PASSER_BY,
    },
}
"""What each role may do; a role that a profile does not have is missing, and may do nothing."""

_LEADER = {Relation.OWN: _ALL_OF_RUNS, Relation.SHARED: _ALL_OF_RUNS, Relation.OTHER: _ALL_OF_RUNS}
_OWNER = {Relation.OWN: _ALL_OF_RUNS, Relation.SHARED: frozenset({RunAction.LOOK, RunAction.EXPORT})}

RUN_RIGHTS: Mapping[Role, Mapping[Relation, frozenset[RunAction]]] = {
    Role.HOST: _LEADER,
    Role.TEACHER: _LEADER,
    Role.STUDENT: _OWNER,
    Role.VISITOR: _OWNER,
    # A stranger owns nothing; what is shared is shared with those who were let in.
    Role.STRANGER: {},
}
"""What each role may do with a run of their own, one that was shared, and any other; nothing where it is missing."""


def may_do(kind: ProfileKind, role: Role, action: Action) -> bool:
    """Return whether somebody may do something on a server.

    Args:
        kind: the kind of server.
        role: what they are to it.
        action: what they want to do.

    Returns:
        The answer of `RIGHTS`.
    """
    return action in RIGHTS[kind].get(role, _NOTHING)


def may_do_with_run(kind: ProfileKind, role: Role, action: RunAction, relation: Relation) -> bool:
    """Return whether somebody may do something with a run.

    Args:
        kind: the kind of server.
        role: what they are to it.
        action: what they want to do.
        relation: what the run is to them.

    Returns:
        The answer of `RUN_RIGHTS`. On a Space, where all others are strangers, only the teacher shares, and what is
        shared is looked at there: an export would give its weights away. A push takes the token of whoever has signed
        in on a Space; elsewhere that of the machine's user, which is for those who lead the server.
    """
    if action is RunAction.PUSH and role not in (Role.HOST, Role.TEACHER):
        return (kind, role, relation) == (ProfileKind.SPACE, Role.VISITOR, Relation.OWN)
    if kind is ProfileKind.SPACE and role is Role.VISITOR and action is RunAction.SHARE:
        return False
    if kind is ProfileKind.SPACE and role is Role.VISITOR and (action, relation) == (RunAction.EXPORT, Relation.SHARED):
        return False
    return role in RIGHTS[kind] and action in RUN_RIGHTS[role].get(relation, frozenset())


def format_tables() -> str:
    """Return both tables in Markdown, as SECURITY.md shows them."""
    roles = [(kind, role) for kind, row in RIGHTS.items() for role in row]
    lines = ["| profile, role | " + " | ".join(action.value for action in Action) + " |"]
    lines.append("|---" * (len(Action) + 1) + "|")
    for kind, role in roles:
        marks = ("yes" if may_do(kind, role, action) else "–" for action in Action)
        lines.append(f"| {kind.value}, {role.value} | " + " | ".join(marks) + " |")
    lines += ["", "| profile, role | " + " | ".join(action.value for action in RunAction) + " |"]
    lines.append("|---" * (len(RunAction) + 1) + "|")
    for kind, role in roles:
        cells = []
        for action in RunAction:
            names = [relation.value for relation in Relation if may_do_with_run(kind, role, action, relation)]
            cells.append("all" if len(names) == len(Relation) else ", ".join(names) or "–")
        lines.append(f"| {kind.value}, {role.value} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
