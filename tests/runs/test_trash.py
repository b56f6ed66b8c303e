"""The bin: runs are deleted by a rename, come back whole, and are gone only when it is emptied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ftlab.core import file_io
from ftlab.core.errors import RunError
from ftlab.runs import run_store, trash
from ftlab.runs.directory import Run
from tests.support import fabricated_runs, staged_jobs
from tests.support.staged_jobs import OBEDIENT, Stage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def made(root: Path) -> Run:
    run = fabricated_runs.make(root, [*fabricated_runs.story(epochs=1), fabricated_runs.ended()])
    run.best_weights_path.write_bytes(b"x" * 5000)
    return run


def content(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_a_deleted_run_is_no_run_and_comes_back_as_it_was(root: Path) -> None:
    kept, run = made(root), made(root)
    before = content(run.path)
    (gone,) = trash.discard_runs([run])
    assert run_store.list_run_names(root) == [kept.name]
    assert trash.list_trashed_names(root) == [run.name]
    assert gone.path == root / ".bin" / run.name
    (back,) = trash.restore_runs([trash.find_trashed_run(root, run.name[-6:])])
    assert back.path == run.path
    assert content(back.path) == before
    assert trash.list_trashed_names(root) == []


def test_a_run_in_the_bin_is_told_apart_from_one_that_never_was(root: Path) -> None:
    run = made(root)
    trash.discard_runs([run])
    with pytest.raises(RunError, match=f"in the bin. Restore it with `python -m ftlab restore {run.name}`"):
        run_store.find_run(root, run.name[-8:])
    with pytest.raises(RunError, match="no run"):
        run_store.find_run(root, "never")
    with pytest.raises(RunError, match=r"no run .* in the bin"):
        trash.find_trashed_run(root, "never")


def test_one_that_is_trained_is_not_deleted_nor_are_those_beside_it(root: Path, stage: Stage) -> None:
    live, other = stage.start(root, OBEDIENT), made(root)
    staged_jobs.until(lambda: live.read_events()[0])
    with pytest.raises(RunError, match="Stop it first"):
        trash.discard_runs([other, live])
    assert set(run_store.list_run_names(root)) == {live.name, other.name}
    live.liveness.request_stop()
    staged_jobs.until(lambda: not live.liveness.is_active())
    trash.discard_runs([other, live])
    assert run_store.list_run_names(root) == []


def test_a_second_run_of_a_name_finds_a_place_in_the_bin_and_not_among_the_runs(root: Path) -> None:
    run = made(root)
    trash.discard_runs([run])
    shutil.copytree(root / ".bin" / run.name, run.path)
    trash.discard_runs([run])
    assert trash.list_trashed_names(root) == [f"{run.name}.2", run.name]
    trash.restore_runs([trash.find_trashed_run(root, f"{run.name}.2")])
    assert run_store.list_run_names(root) == [run.name]
    with pytest.raises(RunError, match="exists again, so this one stays in the bin"):
        trash.restore_runs([trash.find_trashed_run(root, run.name)])
    assert trash.list_trashed_names(root) == [run.name]


def test_two_of_one_name_do_not_come_back_at_once(root: Path) -> None:
    run = made(root)
    trash.discard_runs([run])
    shutil.copytree(root / ".bin" / run.name, run.path)
    trash.discard_runs([run])
    with pytest.raises(RunError, match="exists again, so this one stays in the bin"):
        trash.restore_runs([Run(root / ".bin" / name) for name in trash.list_trashed_names(root)])
    assert len(trash.list_trashed_names(root)) == 2


def test_emptying_frees_what_the_runs_took_and_touches_nothing_else(root: Path) -> None:
    kept, run = made(root), made(root)
    (root / "stranger").mkdir()
    took = file_io.get_folder_size(run.path)
    trash.discard_runs([run])
    (root / ".bin" / "mine.txt").write_text("kept", encoding="utf-8")
    assert trash.empty_trash(root) == took > 5000
    assert trash.list_trashed_names(root) == []
    assert [path.name for path in (root / ".bin").iterdir()] == ["mine.txt"]
    assert {path.name for path in root.iterdir()} == {".bin", "stranger", kept.name}
    assert trash.empty_trash(root) == 0


def test_a_link_in_the_bin_is_not_followed(root: Path, tmp_path: Path) -> None:
    outside = made(tmp_path / "elsewhere")
    trash.discard_runs([made(root)])
    try:
        (root / ".bin" / outside.name).symlink_to(outside.path, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets nobody make links")
    trash.empty_trash(root)
    assert outside.best_weights_path.is_file()


def test_a_folder_that_the_system_holds_stays_and_is_told_in_a_line(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(root)

    def held(_old: Path, _new: Path) -> None:
        raise PermissionError(13, "The process cannot access the file")

    monkeypatch.setattr(os, "replace", held)
    monkeypatch.setattr(file_io, "MOVE_RETRY_SECONDS", 0.0)
    before = content(run.path)
    with pytest.raises(RunError, match=r"Nothing is lost\. Close whatever has its files open") as told:
        trash.discard_runs([run])
    assert len(str(told.value).splitlines()) == 1
    assert content(run.path) == before


def test_what_cannot_be_removed_is_counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(root)
    trash.discard_runs([run])
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(RunError, match=f"1 of the deleted runs could not be removed, the first is {run.name}"):
        trash.empty_trash(root)


def test_one_that_is_gone_meanwhile_is_told(root: Path) -> None:
    run = made(root)
    (gone,) = trash.discard_runs([run])
    calls: tuple[Callable[[], object], ...] = (
        lambda: trash.discard_runs([run]),
        lambda: trash.restore_runs([Run(gone.path.with_name("x"))]),
    )
    for again in calls:
        with pytest.raises(RunError, match="no longer exists here"):
            again()


def test_a_run_that_was_deleted_long_ago_is_removed_and_others_stay(root: Path) -> None:
    old, new, kept = made(root), made(root), made(root)
    os.utime(old.path, (0, 0))  # trained long ago, deleted just now
    (old_path, _) = (one.path for one in trash.discard_runs([old, new]))
    trash.remove_expired_runs(root, 3600)
    assert len(trash.list_trashed_names(root)) == 2
    os.utime(old_path, (0, 0))
    trash.remove_expired_runs(root, 3600)
    assert trash.list_trashed_names(root) == [new.name]
    assert run_store.list_run_names(root) == [kept.name]
