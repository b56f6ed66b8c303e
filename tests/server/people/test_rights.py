"""Who may do what: the tables, and that SECURITY.md shows them."""

from __future__ import annotations

import pytest

from ftlab.server.people.rights import (
    RIGHTS,
    Action,
    ProfileKind,
    Relation,
    Role,
    RunAction,
    format_tables,
    may_do,
    may_do_with_run,
)
from tests.support import ROOT

SHARED_SERVERS = (ProfileKind.NETWORK, ProfileKind.CLASSROOM, ProfileKind.SPACE)


def test_the_person_at_this_machine_may_do_everything_and_is_nobody_elsewhere() -> None:
    assert all(may_do(ProfileKind.LOCAL, Role.HOST, action) for action in Action)
    assert not any(may_do(kind, Role.HOST, action) for kind in SHARED_SERVERS for action in Action)


@pytest.mark.parametrize("kind", SHARED_SERVERS)
@pytest.mark.parametrize("role", [Role.STUDENT, Role.VISITOR, Role.STRANGER])
def test_with_a_strangers_run_nobody_but_the_teacher_does_anything(kind: ProfileKind, role: Role) -> None:
    assert not any(may_do_with_run(kind, role, action, Relation.OTHER) for action in RunAction)
    assert all(may_do_with_run(kind, Role.TEACHER, action, Relation.OTHER) for action in RunAction)
    shared = {action for action in RunAction if may_do_with_run(kind, role, action, Relation.SHARED)}
    assert shared <= {RunAction.LOOK, RunAction.EXPORT}, "what is shared is looked at, and not changed"


def test_in_a_class_whoever_has_no_name_may_do_nothing() -> None:
    assert not any(may_do(ProfileKind.CLASSROOM, Role.STRANGER, action) for action in Action)
    assert not any(may_do(ProfileKind.CLASSROOM, Role.VISITOR, action) for action in Action)


def test_without_a_cookie_nobody_starts_what_they_would_not_find_again() -> None:
    for kind in (ProfileKind.NETWORK, ProfileKind.SPACE):
        assert may_do(kind, Role.STRANGER, Action.PREDICT)
        assert not may_do(kind, Role.STRANGER, Action.START)


def test_on_a_space_only_the_teacher_shares() -> None:
    assert not may_do_with_run(ProfileKind.SPACE, Role.VISITOR, RunAction.SHARE, Relation.OWN)
    assert may_do_with_run(ProfileKind.SPACE, Role.TEACHER, RunAction.SHARE, Relation.OTHER)
    assert may_do_with_run(ProfileKind.CLASSROOM, Role.STUDENT, RunAction.SHARE, Relation.OWN)


def test_a_shared_run_is_exported_in_a_class_and_not_on_a_space() -> None:
    assert may_do_with_run(ProfileKind.CLASSROOM, Role.STUDENT, RunAction.EXPORT, Relation.SHARED)
    assert may_do_with_run(ProfileKind.NETWORK, Role.VISITOR, RunAction.EXPORT, Relation.SHARED)
    assert not may_do_with_run(ProfileKind.SPACE, Role.VISITOR, RunAction.EXPORT, Relation.SHARED)
    assert may_do_with_run(ProfileKind.SPACE, Role.VISITOR, RunAction.EXPORT, Relation.OWN)
    for kind in SHARED_SERVERS:
        assert not any(may_do_with_run(kind, Role.STRANGER, RunAction.EXPORT, relation) for relation in Relation)


def test_others_push_from_a_space_only_and_only_their_own_runs() -> None:
    allowed = {
        (kind, role, relation)
        for kind in SHARED_SERVERS
        for role in (Role.STUDENT, Role.VISITOR, Role.STRANGER)
        for relation in Relation
        if may_do_with_run(kind, role, RunAction.PUSH, relation)
    }
    assert allowed == {(ProfileKind.SPACE, Role.VISITOR, Relation.OWN)}


def test_every_kind_of_server_has_its_row() -> None:
    assert set(RIGHTS) == set(ProfileKind)


def test_the_tables_of_the_documentation_are_these() -> None:
    assert format_tables() in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
