"""The command line and folders of pictures, zips and lists: what is in them, and what is amiss."""

from __future__ import annotations

import io
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ftlab.cli import main
from ftlab.core import user_dirs
from ftlab.runs import run_store
from tests.support.json_lines import lines

pytestmark = pytest.mark.usefixtures("one_thread")


def test_scan(say: Any, tiny_folder: Path) -> None:
    (tiny_folder / "amber" / "broken.jpg").write_text("<html>not found</html>")
    status, out, err = say("scan", tiny_folder, "--json")
    assert (status, err) == (0, "")
    (found,) = lines(out)
    assert found["classes"] == {name: {"train": 6, "val": 1, "test": 1} for name in ("amber", "blue", "green")}
    assert found["splits"] == {"train": 18, "val": 3, "test": 3}
    (problem,) = found["problems"]
    assert problem.keys() == {"file", "problem", "remedy"}
    assert problem["file"] == "amber/broken.jpg"
    assert "web page" in problem["problem"]
    status, out, _ = say("scan", tiny_folder)
    assert status == 0
    assert "amber/broken.jpg: " in out
    assert "3 classes" in out.splitlines()[1]
    assert out.splitlines()[3].split() == ["amber", "6", "1", "1"]


def test_scan_deals_with_the_shares_that_are_given(say: Any, tiny_folder: Path) -> None:
    (found,) = lines(say("scan", tiny_folder, "--json", "--val-share", 0.25, "--test-share", 0.25)[1])
    assert found["splits"] == {"train": 12, "val": 6, "test": 6}


def test_a_zip_and_a_list_are_looked_at_like_a_folder(say: Any, tiny_folder: Path, tmp_path: Path) -> None:
    file = Path(shutil.make_archive(str(tmp_path / "pets"), "zip", tiny_folder))
    (found,) = lines(say("scan", file, "--json")[1])
    assert found["splits"] == {"train": 18, "val": 3, "test": 3}
    rows = [f"{path.relative_to(tiny_folder).as_posix()};{path.parent.name}" for path in tiny_folder.glob("*/*.jpg")]
    (tiny_folder / "pets.csv").write_text("\n".join(["path;label", *rows, "gone.jpg;amber"]))
    (found,) = lines(say("scan", tiny_folder / "pets.csv", "--json")[1])
    assert found["layout"] == "list"
    assert found["problems"][0]["line"] == 20
    out = say("scan", tiny_folder / "pets.csv")[1]
    assert "gone.jpg (line 20): The file does not exist." in out
    assert "classes as in the list" in out


def test_a_training_takes_a_zip_and_unpacks_it_once(say: Any, tiny_folder: Path, tmp_path: Path) -> None:
    file = Path(shutil.make_archive(str(tmp_path / "pets"), "zip", tiny_folder))
    command = ["train", "--data", file, "--epochs", 1, "--torch-num-threads", 1, "--runs", tmp_path / "runs"]
    assert say(*command)[0] == 0
    run = run_store.find_run(tmp_path / "runs", "latest")
    assert run.load_config().data == str(file)
    assert Path(run.read_json("split.json")["root"]).is_relative_to(user_dirs.get_ftlab_home() / "archives")
    assert say("evaluate", "latest", "--runs", tmp_path / "runs")[0] == 0
    assert len(list((user_dirs.get_ftlab_home() / "archives").iterdir())) == 1


def test_a_zip_that_is_refused_makes_no_run(say: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as out:
        out.writestr("../\nevil.png", b"x")
    status, out_text, err = say("train", "--data", tmp_path / "evil.zip", "--runs", tmp_path / "runs")
    assert (status, out_text) == (2, "")
    assert len(err.splitlines()) == 1
    assert r"../\x0aevil.png points outside" in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(os.name == "nt", reason="there are no such names on Windows")
def test_no_name_of_a_class_or_a_file_breaks_a_line_of_the_table(say: Any, tiny_folder: Path) -> None:
    (tiny_folder / "amber").rename(tiny_folder / "am\nber\x1b[31m")
    (tiny_folder / "green").rename(tiny_folder / ("g" * 150 + "n"))
    (tiny_folder / "blue" / "x\ny.png").touch()
    status, out, _ = say("scan", tiny_folder)
    assert status == 0
    assert len(out.splitlines()) == 7
    assert r"am\x0aber\x1b[31m" in out
    assert f"{'g' * 39}…{'g' * 19}n " in out
    assert "\x1b" not in out


def test_progress_is_a_bar_on_a_terminal_only(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    seen = Terminal()
    monkeypatch.setattr(sys, "stderr", seen)
    assert main.main(["scan", str(tiny_folder), "--json"]) == 0
    assert "Checking pictures" in seen.getvalue()
    assert lines(capsys.readouterr().out)[0]["splits"]["train"] == 18
