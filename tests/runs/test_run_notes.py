"""What a person calls a run, and notes on it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ftlab.core.errors import RunError
from ftlab.runs import run_notes
from ftlab.runs.directory import Run
from ftlab.runs.run_notes import RunNotes
from tests.support import fabricated_runs


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return fabricated_runs.make(tmp_path / "runs", [*fabricated_runs.story(), fabricated_runs.ended()])


def test_a_run_without_them_has_neither(run: Run) -> None:
    assert run_notes.read_notes(run) == RunNotes("", "")


def test_each_is_changed_alone_and_an_empty_one_takes_it_away(run: Run) -> None:
    run_notes.write_notes(run, title="  A\tfirst \n try ", notes="one  \r\n\r\ntwo\n\n")
    assert run_notes.read_notes(run) == RunNotes("A first try", "one\n\ntwo")
    assert run_notes.read_notes(run).first_line == "one"
    run_notes.write_notes(run, title="")
    assert run_notes.read_notes(run) == RunNotes("", "one\n\ntwo")
    run_notes.write_notes(run, notes=" ")
    assert run_notes.read_notes(run) == RunNotes("", "")


def test_nothing_else_in_the_run_is_touched(run: Run) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    run_notes.write_notes(run, title="Käfer <b>$x$</b>", notes="x")
    after = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert set(after) - set(before) == {run.path / "about.json"}
    assert all(after[path] == content for path, content in before.items())


@pytest.mark.parametrize(("kind", "most"), [("title", run_notes.MAX_TITLE_CHARS), ("notes", run_notes.MAX_NOTES_CHARS)])
def test_one_that_is_too_long_is_refused_and_the_old_one_stays(run: Run, kind: str, most: int) -> None:
    texts: dict[str, Any] = {kind: "x" * most}
    run_notes.write_notes(run, **texts)
    with pytest.raises(RunError, match=f"at most {most:,}"):
        run_notes.write_notes(run, **{**texts, kind: "y" * (most + 1)})
    assert getattr(run_notes.read_notes(run), kind) == "x" * most


@pytest.mark.parametrize("content", ["no", "[]", '{"title": 7, "notes": {}}', '{"title": null}', "\udcff"])
def test_a_file_that_is_damaged_hides_no_run(run: Run, content: str) -> None:
    (run.path / "about.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert run_notes.read_notes(run) == RunNotes("", "")


def test_what_was_written_by_hand_is_held_to_its_limits(run: Run) -> None:
    run.write_json("about.json", {"title": "x\ny" + "z" * 200, "notes": "n" * 9999})
    told = run_notes.read_notes(run)
    assert told.title.startswith("x yz")
    assert (len(told.title), len(told.notes)) == (run_notes.MAX_TITLE_CHARS, run_notes.MAX_NOTES_CHARS)


def test_a_run_that_is_gone_is_not_made_anew(run: Run) -> None:
    shutil.rmtree(run.path)
    with pytest.raises(RunError, match="no longer exists here"):
        run_notes.write_notes(run, title="x")
    assert not run.path.exists()
