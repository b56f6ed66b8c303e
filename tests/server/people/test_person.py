"""One person: what a run is to them, and what follows from it."""

from __future__ import annotations

from pathlib import Path

from ftlab.runs import run_notes
from ftlab.server.people.person import Person, make_stranger
from ftlab.server.people.rights import Action, ProfileKind, Relation, Role, RunAction
from tests.support import fabricated_runs
from tests.support.people import ANN, BEN, HOST, give_to


def test_a_run_belongs_to_whom_the_server_has_noted(tmp_path: Path) -> None:
    run = give_to(fabricated_runs.make(tmp_path, []), ANN)
    assert ANN.find_relation(run) is Relation.OWN
    assert BEN.find_relation(run) is Relation.OTHER
    run_notes.write_notes(run, is_shared=True)
    assert BEN.find_relation(run) is Relation.SHARED
    assert ANN.may_with(RunAction.DELETE, run)
    assert BEN.may_with(RunAction.LOOK, run)
    assert not BEN.may_with(RunAction.STOP, run)


def test_a_run_of_the_command_line_is_the_hosts_and_no_strangers(tmp_path: Path) -> None:
    run = fabricated_runs.make(tmp_path, [])
    assert HOST.find_relation(run) is Relation.OWN
    for kind in (ProfileKind.NETWORK, ProfileKind.CLASSROOM, ProfileKind.SPACE):
        assert make_stranger(kind).find_relation(run) is Relation.OTHER
        assert not make_stranger(kind).may_with(RunAction.LOOK, run)
        assert Person(kind, Role.TEACHER, "c" * 32).may_with(RunAction.DELETE, run)


def test_what_a_run_keeps_of_its_owner_is_not_the_cookie() -> None:
    assert ANN.id not in ANN.owner
    assert ANN.owner != BEN.owner
    assert HOST.owner == ""


def test_without_a_cookie_somebody_is_the_host_of_their_own_machine_only() -> None:
    assert make_stranger(ProfileKind.LOCAL).may(Action.START)
    assert not make_stranger(ProfileKind.NETWORK).may(Action.START)
