"""The Export panel of the Runs tab: who may export what, what is shown, and what the zip holds."""

from __future__ import annotations

import dataclasses
import html
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftlab.core import messages
from ftlab.export import formats
from ftlab.runs.directory import Run
from ftlab.runs.jobs import export_job
from ftlab.runs.jobs.export_job import ExportState
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import uploads
from ftlab.ui.runs import export_panel
from ftlab.ui.runs.export_panel import ExportActions
from ftlab.ui.train.actions import TrainActions
from tests.support.exported_models import make_run
from tests.support.people import ANN, BEN, acting_as, give_to

CHECK = {
    "images": 6,
    "bound": 0.005,
    "largest_difference": 0.5,
    "mean_difference": 0.1,
    "same_class": 5,
    "changed_class": 1,
    "largest_map_difference": None,
    "milliseconds": 9.0,
    "own_milliseconds": 8.0,
    "megabytes": 1.0,
    "passed": False,
}
STATUS, DOWNLOAD, FORCE, START, STOP, MARKS = range(6)


@pytest.fixture
def run(tmp_path: Path, tiny_folder: Path) -> Run:
    return make_run(tiny_folder, tmp_path / "runs")


@pytest.fixture
def actions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExportActions:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return ExportActions(TrainActions(ServerProfile(tmp_path, tmp_path / "runs")))


def press(
    actions: ExportActions, name: object, format_name: str = "onnx", numbers: object = "float32"
) -> list[list[Any]]:
    return list(actions.export({"names": [name]}, format_name, "best", numbers))


def test_an_export_is_a_zip_without_the_folders_of_the_machine(
    actions: ExportActions, run: Run, tmp_path: Path
) -> None:
    files_before = sorted(run.path.rglob("*"))
    first, *_, last = press(actions, run.name)
    assert first[STOP].visible
    assert first[MARKS]["job"]
    assert f"python -m ftlab export {run.name} --format onnx --out {run.name}-onnx.zip<" in first[STATUS]
    assert str(tmp_path) not in last[STATUS]
    assert "Same most probable class" in last[STATUS]
    assert last[DOWNLOAD]["visible"]
    with zipfile.ZipFile(last[DOWNLOAD]["value"]) as archive:
        assert {"model.onnx", "model.json", "check.json", "README.md"} <= set(archive.namelist())
        assert not any(str(tmp_path).encode() in archive.read(name) for name in archive.namelist())
    assert sorted(run.path.rglob("*")) == files_before, "nothing is written into the run"


def test_a_failed_check_shows_its_table_and_is_written_only_on_demand(
    actions: ExportActions, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def work(arguments: list[str], *_: object) -> Iterator[ExportState]:
        asked.append(arguments)
        yield ExportState(3, 6)
        yield ExportState(answer={"out": None, "check": CHECK}, error="It differs.")

    monkeypatch.setattr(export_job, "run_export", work)
    busy, last = press(actions, run.name)[1:]
    assert "Comparing 3 of 6" in busy[STATUS]
    assert "press “Write it all the same”" in last[STATUS]
    assert "--force" not in last[STATUS]
    assert "5 / 6" in last[STATUS]
    assert last[FORCE].visible
    assert not last[DOWNLOAD]["visible"]
    list(actions.force_export({"names": [run.name]}, "onnx", "best", "float32"))
    assert ["--force" in arguments for arguments in asked] == [False, True]


def test_what_cannot_run_here_is_offered_and_says_so(
    actions: ExportActions, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = dataclasses.replace(formats.FORMATS["onnx"], name="foreign", runs_here=False)
    monkeypatch.setitem(formats.FORMATS, "foreign", foreign)

    def work(arguments: list[str], *_: object) -> Iterator[ExportState]:
        zip_path = Path(arguments[arguments.index("--out") + 1])
        zip_path.parent.mkdir(parents=True, exist_ok=True)
        zip_path.write_bytes(b"zip")
        yield ExportState(answer={"out": str(zip_path), "check": None, "forced": False, "structure_only": True})

    monkeypatch.setattr(export_job, "run_export", work)
    last = press(actions, run.name, "foreign")[-1]
    assert "Not run here" in last[STATUS]
    assert "<table" not in last[STATUS]
    assert last[DOWNLOAD]["visible"]
    assert not last[FORCE].visible


def test_whoever_may_not_export_is_refused_whatever_the_page_sends(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr(export_job, "run_export", lambda *_: (state for state in [ExportState(answer={"check": None})]))
    profile = ServerProfile(tmp_path, tmp_path / "runs", ProfileKind.CLASSROOM)
    actions = ExportActions(TrainActions(profile))
    give_to(run, ANN)
    with acting_as(BEN):
        (refused,) = press(actions, run.name)
    assert "no run" in refused[STATUS]
    with acting_as(ANN):
        assert len(press(actions, run.name)) == 2
    for name in ("../runs", 7, None, f"../runs/{run.name}"):
        with acting_as(ANN):
            assert len(press(actions, name)) == 1


def test_one_export_for_a_visitor_and_two_for_a_server(actions: ExportActions, run: Run) -> None:
    with actions.slots.hold(""):
        (refused,) = press(actions, run.name)
    assert "yours is being made" in refused[STATUS]
    with actions.slots.hold("a"), actions.slots.hold("b"):
        (refused,) = press(actions, run.name)
    assert "other exports" in refused[STATUS]


def test_an_export_for_which_there_is_no_space_is_refused_before_it_starts(
    actions: ExportActions, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_job, "run_export", lambda *_: pytest.fail("it was started"))
    monkeypatch.setattr(uploads, "UPLOAD_QUOTA_BYTES", 4 * run.best_weights_path.stat().st_size - 1)
    (refused,) = press(actions, run.name)
    assert messages.get_text("error.export.full") in refused[STATUS]


def test_a_format_without_its_package_names_the_command_and_is_not_started(
    actions: ExportActions, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = dataclasses.replace(formats.FORMATS["onnx"], name="bare", packages=("no_such_package",), extra="bare")
    monkeypatch.setitem(formats.FORMATS, "bare", bare)
    note, _, start = actions.show_format("bare")
    assert "no_such_package" in note
    assert bare.get_install_command() in html.unescape(note)
    assert start.interactive is False
    (refused,) = press(actions, run.name, "bare")
    assert "no_such_package" in refused[STATUS]
    (refused,) = press(actions, run.name, "made up")
    assert "no export format" in refused[STATUS]


@pytest.mark.parametrize(
    ("has_half_weights", "has_int8", "names"),
    [
        (False, False, ["float32"]),
        (True, False, ["float32", "float16"]),
        (True, True, ["float32", "float16", "int8"]),
    ],
)
def test_numbers_are_offered_as_the_format_can_store_them(
    actions: ExportActions,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_half_weights: bool,
    has_int8: bool,
    names: list[str],
) -> None:
    asked: list[list[str]] = []

    def work(arguments: list[str], *_: object) -> Iterator[ExportState]:
        asked.append(arguments)
        yield ExportState(answer={"check": None})

    monkeypatch.setattr(export_job, "run_export", work)
    tried = dataclasses.replace(
        formats.FORMATS["onnx"], name="tried", has_half_weights=has_half_weights, has_int8=has_int8
    )
    monkeypatch.setitem(formats.FORMATS, "tried", tried)
    choice = actions.show_format("tried")[1]
    assert [value for _, value in choice.choices] == names
    assert choice.value == "float32"
    assert choice.visible == (len(names) > 1)
    assert export_panel.render_format_note("tried") == ""
    for numbers in ("float32", "float16", "int8", "made up", None):
        press(actions, run.name, "tried", numbers)
    flags = [[flag for flag in ("--half", "--int8") if flag in arguments] for arguments in asked]
    assert flags == [[], ["--half"] * has_half_weights, ["--int8"] * has_int8, [], []]
