"""The route of the Stop button."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftlab.runs import run_notes
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch
from ftlab.runs.jobs.job_stop import JobStop
from ftlab.server.people.person import Person, make_stranger
from ftlab.server.people.rights import ProfileKind, Role
from ftlab.server.profile import ServerProfile
from ftlab.server.stop_route import answer_stop
from tests.support import fabricated_runs
from tests.support.people import ANN, BEN, HOST, give_to


@pytest.fixture
def profile(tmp_path: Path) -> ServerProfile:
    return ServerProfile(None, tmp_path / "runs", ProfileKind.SPACE)


def ask(profile: ServerProfile, **fields: object) -> tuple[int, str]:
    return answer_stop(profile, HOST, json.dumps(fields).encode())


def test_a_run_is_asked_to_stop_or_ended_now(profile: ServerProfile, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fabricated_runs.make_at_work(profile.runs_dir)
    ended: list[Run] = []
    monkeypatch.setattr(launch, "terminate_run", ended.append)
    assert ask(profile, run=run.name) == (200, "")
    assert (run.liveness.is_stop_requested(), ended) == (True, [])
    assert ask(profile, run=run.name, by_force=True) == (200, "")
    assert [stopped.path for stopped in ended] == [run.path]


def test_a_run_that_has_ended_stays_as_it_is(profile: ServerProfile) -> None:
    run = fabricated_runs.make(profile.runs_dir, [*fabricated_runs.story(), fabricated_runs.ended("finished")])
    assert ask(profile, run=run.name, by_force=True) == (200, "")
    assert not run.liveness.is_stop_requested()


def test_only_the_full_name_of_a_run_opens_it(profile: ServerProfile) -> None:
    run = fabricated_runs.make_at_work(profile.runs_dir)
    for name in (
        run.name[:-1],
        run.name[:8],
        "latest",
        "",
        "..",
        f"../runs/{run.name}",
        f"{run.name}/",
        None,
        3,
        [run.name],
    ):
        status, text = ask(profile, run=name)
        assert status == 404
        assert str(profile.runs_dir) not in text, "no path of the server is told"
    assert not run.liveness.is_stop_requested()


def test_only_its_owner_and_whoever_leads_stop_a_run(profile: ServerProfile) -> None:
    run = give_to(fabricated_runs.make_at_work(profile.runs_dir), ANN)
    run_notes.write_notes(run, is_shared=True)
    request = json.dumps({"run": run.name}).encode()
    stranger = make_stranger(profile.kind)
    refusals = {answer_stop(profile, person, request) for person in (BEN, stranger)}
    assert [status for status, _ in refusals] == [404], "as for a run that does not exist"
    assert not run.liveness.is_stop_requested()
    assert answer_stop(profile, ANN, request) == (200, "")
    assert run.liveness.is_stop_requested()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b"\xff", b"[" * 2000, b'"x"'])
def test_what_is_no_request_stops_nothing(profile: ServerProfile, body: bytes) -> None:
    run = fabricated_runs.make_at_work(profile.runs_dir)
    assert answer_stop(profile, HOST, body)[0] == 404
    assert not run.liveness.is_stop_requested()


def test_why_a_process_cannot_be_ended_is_told(profile: ServerProfile, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fabricated_runs.make_at_work(profile.runs_dir)
    monkeypatch.setattr(launch, "_wait_until_gone", lambda _: False)
    monkeypatch.setattr("psutil.Process.terminate", lambda _: None)
    monkeypatch.setattr("psutil.Process.kill", lambda _: None)
    status, text = ask(profile, run=run.name, by_force=True)
    assert status == 409
    assert run.name in text


def test_an_audit_is_stopped_by_whose_it_is_and_by_who_leads(profile: ServerProfile) -> None:
    leader = Person(ProfileKind.SPACE, Role.TEACHER, "c" * 32, "Ms Lee")
    for person, is_stopped in ((BEN, False), (make_stranger(ProfileKind.SPACE), False), (ANN, True), (leader, True)):
        with JobStop(ANN.owner) as stop:
            assert answer_stop(profile, person, json.dumps({"job": stop.name}).encode()) == (200, "")
            assert stop.event.is_set() is is_stopped, person
