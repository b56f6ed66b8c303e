"""The data folder is only read, by a scan, the page, a training, a prediction; one that cannot be written will do."""

from __future__ import annotations

import dataclasses
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftlab.cli import main
from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.evaluation import datasets, evaluate
from ftlab.inference import load_model
from ftlab.runs import run_store
from ftlab.server.profile import ServerProfile
from ftlab.training.loop import train
from ftlab.ui.common import data_choice
from ftlab.ui.dataset.actions import DatasetActions

CHANGING = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.chown", "os.utime", "os.truncate"}
CHANGING |= {"os.link", "os.symlink", "os.setxattr", "os.removexattr", "shutil.rmtree", "shutil.move"}


class Watch:
    """Notes what would change something below a folder. A hook stays for the process's life, so there is one."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event == "open":
            path, mode, flags = given
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            paths = [path] if writes or (isinstance(mode, str) and set(mode) & set("wax+")) else []
        else:
            paths = list(given) if event in CHANGING else []
        for path in paths:
            if isinstance(path, (str, bytes)) and os.path.normpath(Path.cwd() / os.fsdecode(path)).startswith(
                self.folder
            ):
                self.seen.append(f"{event} {os.fsdecode(path)}")


@pytest.fixture(scope="module")
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    watch.folder = None


def state(folder: Path) -> dict[str, tuple[int, int, int, int]]:
    """Of the folder and all in it: mode, size, number of links, time of the last change."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        facts = os.lstat(path)
        found[str(path)] = (facts.st_mode, facts.st_size, facts.st_nlink, facts.st_mtime_ns)
    return found


@pytest.fixture
def read_only(tiny_folder: Path) -> Iterator[Path]:
    """The tiny folder with a list, a damaged file and a class of one picture; nobody has the right to write it."""
    (tiny_folder / "blue" / "bad.jpg").write_bytes(b"no picture")
    (tiny_folder / "lone").mkdir()
    (tiny_folder / "lone" / "1.png").write_bytes((tiny_folder / "blue" / "blue_0.png").read_bytes())
    places = [tiny_folder, *tiny_folder.rglob("*")]
    for path in places:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    yield tiny_folder
    for path in places:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


@pytest.mark.usefixtures("one_thread")
def test_nothing_that_ftlab_does_changes_the_data_folder(
    read_only: Path, tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = backbones.get_backbone_spec("mobilenet_v2")
    monkeypatch.setitem(backbones.BACKBONES, spec.name, dataclasses.replace(spec, side=64, resize=72))
    before = state(read_only)
    watch.seen.clear()
    watch.folder = str(read_only)

    assert main.main(["scan", str(read_only)]) == 0
    shop = DatasetActions(ServerProfile(tmp_path, tmp_path / "runs"))
    data_choice.scan_futures.clear()
    given = ("folder", str(read_only), 0.25, 0.25)
    assert "lone" in shop.show_dataset(*given)[0]
    assert "<img" in shop.show_first_page(*given, "", "")[1]
    shop.render_listing(f"{read_only}{os.sep}")
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 8, "backbone": spec.name, "torch_num_threads": 1}
    for mode in ("frozen", "scratch"):
        run = run_store.create_run(tmp_path / "runs", TrainConfig(data=str(read_only), mode=mode, **settings))
        for event in train(run.load_config(), run, pretrained=False):
            run.append_event(event)
        assert run.liveness.get_status() == "finished"
    picture = read_only / "amber" / "amber_1.jpg"
    assert load_model.load_predictor(run).predict_and_explain(picture)[0]
    assert len(evaluate.evaluate_with_decision(run, datasets.load_split_dataset(run, "test")).result.labels) > 0

    watch.folder = None
    assert watch.seen == []
    assert state(read_only) == before


def test_the_watch_sees_what_it_must(tmp_path: Path, watch: Watch) -> None:
    watch.seen.clear()
    watch.folder = str(tmp_path)
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").read_text()
    (tmp_path / "a").rename(tmp_path / "b")
    os.utime(tmp_path / "b")
    (tmp_path / "b").unlink()
    watch.folder = None
    assert [one.partition(" ")[0] for one in watch.seen] == ["open", "os.rename", "os.rename", "os.utime", "os.remove"]
