"""A push from the page: to whose account, by whose token, and what is shown; the Hub is a stand-in on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from ftlab.runs.directory import Run
from ftlab.runs.jobs import export_job, job_stop
from ftlab.server.accounts.account_store import Account
from ftlab.server.accounts.sign_in_settings import SignInSettings
from ftlab.server.people.person import Person
from ftlab.server.people.rights import ProfileKind, Role
from ftlab.server.profile import ServerProfile
from ftlab.ui.runs.export_panel import ExportActions
from ftlab.ui.runs.listing import RunListing
from ftlab.ui.runs.push_panel import PushActions
from ftlab.ui.train.actions import TrainActions
from tests.support.exported_models import make_run
from tests.support.hub_server import TOKEN, HubServer, serving_hub
from tests.support.people import ANN, BEN, acting_as, give_to

NAME = "ann-hf/tiny"
SIGN_IN = SignInSettings(
    "id", "secret", "openid profile contribute-repos", "https://hub.example", "https://space.example"
)
ACCOUNT = Account("hf:1", "ann-hf", TOKEN, time.monotonic() + 1e6, frozenset({"contribute-repos"}))
STATUS, START, STOP, MARKS = range(4)
PUSH_OUTPUTS = slice(-5, None)
SECTION, ACCESS, REPOSITORY, BUTTON, _ = range(5)


@pytest.fixture
def run(tmp_path: Path, tiny_folder: Path) -> Run:
    return make_run(tiny_folder, tmp_path / "runs")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with serving_hub() as server:
        for name, value in server.environment(tmp_path / "hub_home", "").items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def space(tmp_path: Path) -> ServerProfile:
    return ServerProfile(None, tmp_path / "runs", ProfileKind.SPACE, sign_in=SIGN_IN)


def press(profile: ServerProfile, name: object, repo_id: object = NAME, format_name: str = "hub") -> list[list[Any]]:
    actions = PushActions(ExportActions(TrainActions(profile)))
    return list(actions.push({"names": [name]}, repo_id, format_name, "best", False))


def look(profile: ServerProfile, run: Run) -> list[Any]:
    return RunListing(profile).render_panel(None, "runs", {"names": [run.name]})[PUSH_OUTPUTS]


def test_a_visitor_of_a_space_pushes_to_their_account_and_the_token_stays_in_memory(
    hub: HubServer, run: Run, space: ServerProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_OfTheSpacesOwner")
    give_to(run, ANN)
    seen: list[str] = []
    shown: list[str] = []
    with acting_as(ANN, ACCOUNT):
        actions = PushActions(ExportActions(TrainActions(space)))
        for updates in actions.push({"names": [run.name]}, NAME, "hub", "best", True):
            shown.append(str(updates))
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    seen += [*process.cmdline(), *process.environ().values()]
            last = updates
    assert f'href="{hub.url}/{NAME}"' in last[STATUS]
    assert "Same most probable class" in last[STATUS]
    assert any("Uploading" in text for text in shown)
    assert f"models/{NAME}" in hub.private
    assert "model.safetensors" in hub.commits[f"models/{NAME}"][-1][1]
    assert "--token-stdin" in seen
    files = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(TOKEN in text for text in (*shown, *seen, *files))


def test_this_machines_token_is_taken_at_home_and_its_lack_is_told_with_the_command(
    hub: HubServer, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = ServerProfile(tmp_path, tmp_path / "runs")
    (refused,) = press(home, run.name)
    assert "hf auth login" in refused[STATUS]
    assert not hub.requests
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    *_, last = press(home, run.name, format_name="onnx")
    assert f"{hub.url}/{NAME}" in last[STATUS]
    assert "model.onnx" in hub.commits[f"models/{NAME}"][-1][1]


@pytest.mark.parametrize(
    ("changes", "account", "sentence"),
    [
        ({}, None, "not signed in"),
        ({}, replace(ACCOUNT, scopes=frozenset({"openid", "profile"})), "does not let ftlab push"),
        ({"sign_in": replace(SIGN_IN, scopes="openid profile")}, None, "may not ask"),
        ({"sign_in": None}, None, "no sign-in"),
    ],
)
def test_a_space_without_an_account_that_allows_it_says_so_and_takes_no_other_token(
    run: Run,
    space: ServerProfile,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    account: Account | None,
    sentence: str,
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(export_job, "run_export", lambda *_, **__: pytest.fail("a process was started"))
    give_to(run, ANN)
    profile = replace(space, **changes)
    for person in (ANN, Person(ProfileKind.SPACE, Role.TEACHER, "c" * 32)):
        with acting_as(person, account):
            (refused,) = press(profile, run.name)
            panel = look(profile, run)
        assert sentence in refused[STATUS]
        assert sentence in panel[ACCESS]
        assert panel[BUTTON].interactive is False
        assert ('href="/login/huggingface?push=1"' in panel[ACCESS]) is (not changes)


def test_the_panel_proposes_a_repository_of_the_account(run: Run, space: ServerProfile) -> None:
    give_to(run, ANN)
    with acting_as(ANN, ACCOUNT):
        panel = look(space, run)
    assert panel[SECTION].visible
    assert "ann-hf" in panel[ACCESS]
    assert panel[REPOSITORY] == "ann-hf/tiny-mobilenet_v2"


@pytest.mark.parametrize(
    ("kind", "role", "allowed"),
    [
        (ProfileKind.NETWORK, Role.VISITOR, "no"),
        (ProfileKind.CLASSROOM, Role.STUDENT, "no"),
        (ProfileKind.NETWORK, Role.TEACHER, "yes"),
        (ProfileKind.CLASSROOM, Role.TEACHER, "yes"),
    ],
)
def test_in_a_network_and_a_class_only_the_teacher_pushes_with_this_machines_token(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: ProfileKind, role: Role, allowed: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    asked: list[object] = []

    def work(*_: object, token: str | None) -> Iterator[export_job.ExportState]:
        asked.append(token)
        yield export_job.ExportState(error="It is stopped here.")

    monkeypatch.setattr(export_job, "run_export", work)
    profile = ServerProfile(None, tmp_path / "runs", kind)
    person = Person(kind, role, "d" * 32)
    give_to(run, person)
    with acting_as(person):
        *_, last = press(profile, run.name)
        panel = look(profile, run)
    assert asked == ([None] if allowed == "yes" else [])
    assert panel[SECTION].visible is (allowed == "yes")
    assert ("may not" in last[STATUS] or "stopped here" in last[STATUS]) or allowed == "no"


@pytest.mark.parametrize(
    ("name", "repo_id", "format_name", "sentence"),
    [
        ("made-up", NAME, "hub", "no run"),
        (7, NAME, "hub", "no run"),
        (None, "me/a b", "hub", "cannot be the name"),
        (None, "", "hub", "cannot be the name"),
        (None, None, "hub", "cannot be the name"),
        (None, NAME, "script", "no export format"),
    ],
)
def test_what_is_no_run_name_or_format_is_told_in_one_line(
    run: Run, space: ServerProfile, name: object, repo_id: object, format_name: str, sentence: str
) -> None:
    give_to(run, ANN)
    with acting_as(ANN, ACCOUNT):
        (refused,) = press(space, run.name if name is None else name, repo_id, format_name)
    assert sentence in refused[STATUS]


def test_a_strangers_run_is_pushed_by_nobody_else(run: Run, space: ServerProfile) -> None:
    give_to(run, ANN)
    with acting_as(BEN, ACCOUNT):
        (refused,) = press(space, run.name)
    assert "no run" in refused[STATUS]


def test_a_push_is_stopped_by_its_button(run: Run, space: ServerProfile, hub: HubServer) -> None:
    give_to(run, ANN)
    with acting_as(ANN, ACCOUNT):
        states = PushActions(ExportActions(TrainActions(space))).push({"names": [run.name]}, NAME, "hub", "best", False)
        first = next(states)
        assert first[STOP].visible
        threading.Thread(target=job_stop.request_stop, args=(first[MARKS]["job"], ANN.owner)).start()
        *_, last = states
    assert "was stopped" in last[STATUS]
    assert not hub.commits
