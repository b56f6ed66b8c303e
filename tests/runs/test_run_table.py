"""All runs in a table: what each came to, searched, sorted, and read again only where something changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ftlab.core import file_io
from ftlab.runs import run_notes, run_store, run_table
from ftlab.runs.directory import Run
from ftlab.runs.run_table import RunRow
from tests.support import fabricated_runs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def made(root: Path, title: str = "", notes: str = "", **settings: object) -> Run:
    run = fabricated_runs.make(root, [*fabricated_runs.story(epochs=1), fabricated_runs.ended()], **settings)
    run_notes.write_notes(run, title=title, notes=notes)
    return run


def listed(root: Path) -> list[RunRow]:
    return run_table.load_rows(root, run_store.list_run_names(root))


def only(root: Path) -> RunRow:
    (row,) = listed(root)
    return row


@pytest.mark.parametrize("token", ["0123456789abcdef" * 2, "0123456789abcdef" * 3])
def test_a_row_has_no_part_of_the_secret_name_of_an_upload(root: Path, token: str) -> None:
    made(root, sample="", data=f"/home/x/.ftlab/visitors/{token}/pets")
    assert only(root).data == "pets"


def test_a_row_says_what_the_run_is_and_came_to(root: Path) -> None:
    run = made(root, "First", "one\ntwo", mode="full")
    (run.path / "evaluation").mkdir()
    run.write_json("evaluation/test-best.json", {"right": 3, "count": 4})
    row = only(root)
    assert (row.name, row.title, row.notes) == (run.name, "First", "one\ntwo")
    assert (row.data, row.backbone_title, row.mode) == ("shapes", "EfficientNet-Lite0", "full")
    assert (row.best_accuracy, row.test_accuracy, row.status) == (0.9375, 0.75, "finished")
    assert row.size_bytes == file_io.get_folder_size(run.path) > 1000
    assert f"{row.day}-{row.time_of_day}".replace("-", "").replace(":", "") == run.name.replace("-", "")[:12]


def test_the_best_of_one_that_did_not_tell_its_end_is_found_among_its_epochs(root: Path) -> None:
    run = fabricated_runs.make(root, fabricated_runs.story(epochs=3))
    assert only(root).best_accuracy == 0.9375
    run.append_event(fabricated_runs.epoch(4, 0.99, best=True))
    assert only(root).best_accuracy == 0.99


def test_nothing_is_read_twice_until_something_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = made(root), made(root)
    listed(root)
    read: list[str] = []
    real = Run.read_json

    def counted(run: Run, file: str) -> dict[str, Any]:
        read.append(run.name)
        return real(run, file)

    monkeypatch.setattr(Run, "read_json", counted)
    listed(root)
    assert read == []
    run_notes.write_notes(first, title="new")
    read.clear()
    assert {row.title for row in listed(root)} == {"new", ""}
    assert set(read) == {first.name}
    assert second.name not in read


def test_a_damaged_run_is_listed_with_what_is_wrong(root: Path) -> None:
    good, bad = made(root), made(root, title="Broken")
    (bad.path / "config.json").write_text("[1]", encoding="utf-8")
    rows = {row.name: row for row in listed(root)}
    assert rows[good.name].read_error == ""
    assert (rows[bad.name].status, rows[bad.name].title) == (run_table.STATUS_UNREADABLE, "Broken")
    assert "config.json" in rows[bad.name].read_error
    assert run_table.filter_rows(list(rows.values()), "unreadable") == [rows[bad.name]]


def test_one_that_vanishes_meanwhile_is_left_out(root: Path) -> None:
    run = made(root)
    assert [row.name for row in run_table.load_rows(root, [run.name, "20990101-000000-x-full-000000000000"])] == [
        run.name
    ]


@pytest.mark.parametrize(
    ("search", "fits"),
    [
        ("", True),
        ("  ", True),
        ("KAFER", True),
        ("käfer second", True),
        ("shapes FROZEN lite0", True),
        ("tf_efficientnet finished", True),
        ("käfer beetle", False),
        ("full", False),
    ],
)
def test_all_words_of_a_search_must_stand_somewhere(root: Path, search: str, *, fits: bool) -> None:
    made(root, "Käfer im Wald", "first line\nthe second")
    assert bool(run_table.filter_rows(listed(root), search)) is fits


def test_the_end_of_a_name_is_found(root: Path) -> None:
    run = made(root)
    assert [row.name for row in run_table.filter_rows(listed(root), run.name[-6:])] == [run.name]


def test_they_are_sorted_by_age_result_and_size(root: Path) -> None:
    for number, (best, size) in enumerate([(None, 5), (0.5, 1), (0.9, 2), (0.9, 9)]):
        name = f"2026010{number + 1}-000000-x-full-{number:012x}"
        (root / name).mkdir(parents=True)
        config = {"config": {"sample": "shapes"}}
        (root / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
        run = Run(root / name)
        if best is not None:
            run.append_event(fabricated_runs.epoch(1, best, best=True))
        run.best_weights_path.write_bytes(b"x" * size * 10_000)

    def days(by: str) -> list[int]:
        return [int(row.day[-1]) for row in run_table.sort_rows(listed(root), by)]

    assert days("newest") == [4, 3, 2, 1]
    assert days("best") == [4, 3, 2, 1]
    assert days("largest") == [4, 1, 3, 2]


def test_which_runs_began_from_another_is_told(root: Path, tmp_path: Path) -> None:
    first = made(root)
    of_folder, of_file = made(root, init_from=str(first.path)), made(root, init_from=str(first.best_weights_path))
    of_stranger = made(root, init_from=str(tmp_path / "weights.pth"))
    rows = {row.name: row for row in listed(root)}
    assert {row.name for row in run_table.find_successors(rows.values(), first.name)} == {of_folder.name, of_file.name}
    assert rows[of_stranger.name].source_run == ""


def test_a_test_score_lapses_with_better_weights(root: Path) -> None:
    run = made(root)
    (run.path / "evaluation").mkdir()
    run.write_json("evaluation/test-best.json", {"right": 3, "count": 4})
    assert only(root).test_accuracy == 0.75
    later = (run.path / "evaluation" / "test-best.json").stat().st_mtime_ns + 10**9
    os.utime(run.best_weights_path, ns=(later, later))
    assert only(root).test_accuracy is None
