"""Persons who send events, without a server: what a handler does for whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from gradio.context import LocalContext

from ftlab.runs import run_quota
from ftlab.runs.directory import Run
from ftlab.server.accounts.account_store import Account
from ftlab.server.admission import TICKET_KEY, Ticket
from ftlab.server.people.person import Person
from ftlab.server.people.rights import ProfileKind, Role
from ftlab.server.visitors import Visitor

HOST = Person(ProfileKind.LOCAL, Role.HOST)
ANN = Person(ProfileKind.SPACE, Role.VISITOR, "a" * 32)
BEN = Person(ProfileKind.SPACE, Role.VISITOR, "b" * 32)
"""Two visitors of a Space."""


def make_visitor(person: Person, address: str = "192.0.2.1") -> Visitor:
    return Visitor(person.id or address, address, has_cookie=bool(person.id), person=person)


@contextmanager
def acting_as(person: Person, account: Account | None = None) -> Iterator[None]:
    """Let handlers see an event of this person."""
    scope = {TICKET_KEY: Ticket(replace(make_visitor(person), account=account))}
    token = LocalContext.request.set(cast(Any, SimpleNamespace(request=SimpleNamespace(scope=scope))))
    try:
        yield
    finally:
        LocalContext.request.reset(token)


def give_to(run: Run, person: Person) -> Run:
    """Note a person as the owner of a run, as the server does at its start."""
    run_quota.write_owner(run, person.owner)
    return run
