"""The commands about runs that were: `runs`, `rename`, `note`, `delete`, `restore`, `bin`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftlab.cli import main
from ftlab.core import file_io
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from tests.support import fabricated_runs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def say(root: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command on these runs: its status, what it printed, what it told beside that."""

    def run(*words: object) -> tuple[int, str, str]:
        status = main.main([*map(str, words), "--runs", str(root)])
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


def made(root: Path, **settings: object) -> Run:
    return fabricated_runs.make(root, [*fabricated_runs.story(epochs=1), fabricated_runs.ended()], **settings)


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_a_run_is_named_and_found_by_its_name(say: Any, root: Path) -> None:
    run, other = made(root), made(root, mode="full")
    status, out, _ = say("rename", run.name, "Käfer im Wald")
    assert (status, run.name in out, "Käfer im Wald" in out) == (0, True, True)
    assert lines(say("note", run.name[-8:], "one\ntwo", "--json")[1]) == [{"run": run.name, "notes": "one\ntwo"}]
    (told,) = lines(say("runs", "--search", "kafer FROZEN two", "--json")[1])
    assert (told["run"], told["title"], told["notes"]) == (run.name, "Käfer im Wald", "one\ntwo")
    assert (told["size"], told["best_val_accuracy"]) == (file_io.get_folder_size(run.path), 0.9375)
    table = say("runs")[1]
    assert all(word in table for word in ("Käfer im Wald", other.name, "MB"))
    assert "None of 2 runs" in say("runs", "--search", "wasp")[1]
    assert lines(say("rename", run.name, "", "--json")[1]) == [{"run": run.name, "title": ""}]


def test_they_are_sorted(say: Any, root: Path) -> None:
    small, large = made(root), made(root)
    large.best_weights_path.write_bytes(b"x" * 10**6)
    small.append_event(fabricated_runs.epoch(5, 0.9, best=True))
    order = [row["run"] for row in lines(say("runs", "--sort", "largest", "--json")[1])]
    assert order == [large.name, small.name]
    order = [row["run"] for row in lines(say("runs", "--json")[1])]
    assert order == sorted([small.name, large.name], reverse=True)


def test_runs_go_to_the_bin_and_come_back(say: Any, root: Path) -> None:
    run, other, kept = made(root), made(root), made(root)
    size = file_io.get_folder_size(run.path)
    assert "The bin is empty" in say("bin")[1]
    told = lines(say("delete", run.name, other.name, run.name, "--json")[1])
    assert [row["run"] for row in told] == [run.name, other.name]
    assert told[0] == {"run": run.name, "size": size, "needed_by": []}
    assert run_store.list_run_names(root) == [kept.name]
    assert {row["run"] for row in lines(say("bin", "--json")[1])} == {run.name, other.name}
    assert "2 deleted" in say("bin")[1]
    status, _, err = say("predict", run.name, "x.jpg")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "in the bin" in err
    assert "is restored" in say("restore", run.name[-8:])[1]
    assert set(run_store.list_run_names(root)) == {run.name, kept.name}
    freed = file_io.get_folder_size(root / ".bin")
    assert lines(say("bin", "--empty", "--json")[1]) == [{"freed": freed}]
    assert lines(say("bin", "--json")[1]) == []


def test_that_others_began_from_a_deleted_run_is_told(say: Any, root: Path) -> None:
    run = made(root)
    later = made(root, init_from=str(run.path))
    _, out, _ = say("delete", run.name)
    assert later.name in out
    assert "To repeat these trainings" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("rename", "LATEST", "x" * 81), "at most 80"),
        (("note", "LATEST", "x" * 4001), "at most 4,000"),
        (("rename", "none", "x"), "none"),
        (("delete", "LATEST", "none"), "none"),
        (("restore", "none"), "ftlab bin"),
        (("runs", "--sort", "smallest"), "smallest"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    say: Any, root: Path, words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(root)
    try:
        status, out, err = say(*(run.name if word == "LATEST" else word for word in words))
    except SystemExit as end:
        status, (out, err) = end.code, capsys.readouterr()
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert told in err
    assert run_store.list_run_names(root) == [run.name]
    assert not (run.path / "about.json").exists()


def test_listing_searching_and_deleting_load_neither_torch_nor_numpy(root: Path) -> None:
    run = made(root)
    code = (
        "import sys\nfrom ftlab.cli.main import main\n"
        "for words in (['runs', '--search', 'x'], ['rename', 'latest', 'x'], ['delete', 'latest'], ['bin']):\n"
        "    assert main([*words, '--runs', sys.argv[1]]) == 0\n"
        "print({'torch', 'numpy', 'gradio', 'matplotlib', 'PIL'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "set()"
    assert run.name in done.stdout


def test_a_run_whose_files_are_pipes_keeps_nobody_waiting(say: Any, root: Path) -> None:
    run, other = made(root), made(root)
    names = [path for path in run.path.iterdir() if path.is_file()]
    others = ("pid", "heartbeat", "process.json", "worker.log", "labels.csv")
    for file in [*names, *(run.path / name for name in others)]:
        file.unlink(missing_ok=True)
        os.mkfifo(file)
    status, out, _ = say("runs", "--json")
    assert status == 0
    assert other.name in [told["run"] for told in lines(out)]
    for words in (("resume", run.name), ("compare", run.name, other.name), ("predict", run.name, "x.jpg")):
        status, _, told = say(*words)
        assert (status, told.count("\n")) == (2, 1), told
    assert say("delete", run.name)[0] == 0
