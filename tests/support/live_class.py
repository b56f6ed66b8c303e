"""A class at work: a server in a process of its own, its members, and their trainings of seconds on drawn pictures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from ftlab.runs import run_notes, run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch
from tests.support import drawn_images
from tests.support.page_client import Answer, Tab, join_class
from tests.support.server_process import ServerProcess
from tests.support.staged_jobs import until

SHORT: dict[str, Any] = {"train_mode": "scratch", "train_backbone": "resnet18", "train_image_size": "32"}
SHORT |= {"train_epochs": 1, "train_batch": 8, "train_torch_num_threads": "1", "train_num_workers": "1"}
# A compilation, which a long training is worth, takes longer than all the rest.
SHORT |= {"train_compile": "no"}
"""Fields of the Train tab: a training of which most is the import of PyTorch."""
LONG: dict[str, Any] = {**SHORT, "train_epochs": 10_000}
GONE_SECONDS = 20.0
"""Seconds that a process has to see that its server is gone."""


class LiveClass:
    """A class and its people.

    Attributes:
        server: its server.
        pictures: folder of labeled pictures that everybody may train on.
        teacher: the teacher's browser.
    """

    teacher: httpx.Client

    def __init__(self, folder: Path, pictures: Path | None = None, **environment: str) -> None:
        """Draw the pictures where none are given, start the server, and let the teacher join."""
        self.pictures = pictures or drawn_images.tiny(folder / "data" / "tiny")
        temporary = folder / "temporary"
        temporary.mkdir(parents=True)
        flags = ("--classroom", "--data-root", str(self.pictures.parent))
        self.server = ServerProcess(folder / "server", *flags, TMPDIR=str(temporary), **environment)
        self.server.start()
        self.teacher = join_class(self.server.url, self.server.read_code("teacher_code"), "Ms Lee")

    def enroll(self, name: str) -> httpx.Client:
        """The browser of a student who has joined."""
        return join_class(self.server.url, self.server.read_code(), name)

    def start(self, tab: Tab, fields: dict[str, Any]) -> tuple[str, Answer]:
        """Press Start; the new run's name, empty where there is none."""
        answer = tab.call("start_training", **self.name_pictures(), **fields)
        state = answer.values[0] if answer.values else {}
        return str(state.get("run") or ""), answer

    def name_pictures(self) -> dict[str, Any]:
        """The fields of the Dataset tab for the pictures of the class."""
        return {"dataset_source": "folder", "dataset_place": str(self.pictures)}

    def read_roster(self) -> dict[str, Any]:
        """What the teacher's page shows."""
        answer = self.teacher.get("/ftlab/teacher/roster")
        answer.raise_for_status()
        roster: dict[str, Any] = answer.json()
        return roster

    def act(self, action: str, **fields: Any) -> None:
        """Press a button of the teacher's page."""
        self.teacher.post(f"/ftlab/teacher/{action}", json=fields).raise_for_status()

    def get_run(self, name: str) -> Run:
        return Run(self.server.runs / name)

    def train_model(self) -> str:
        """Train a model that everybody may ask; the name of its run."""
        name, answer = self.start(Tab(self.teacher), SHORT)
        assert name, answer
        until(lambda: self.get_run(name).liveness.get_status() == "finished")
        run_notes.write_notes(self.get_run(name), is_shared=True)
        return name

    def list_strays(self) -> list[str]:
        """Command lines of processes of this class besides its server and its trainings, once they had time to end."""
        deadline = time.monotonic() + GONE_SECONDS
        while True:
            expected = {self.server.process.pid}
            for run in run_store.find_active_runs(self.server.runs):
                process = run.liveness.find_process()
                if process is not None:
                    expected |= {process.pid, *(child.pid for child in process.children(recursive=True))}
            strays = [process for process in self.server.list_processes() if process.pid not in expected]
            if not strays or time.monotonic() > deadline:
                return [_describe(process) for process in strays]
            time.sleep(0.1)

    def close(self) -> list[str]:
        """End everything; the command lines of what had to be killed besides trainings."""
        self.server.end()
        for run in run_store.find_active_runs(self.server.runs):
            if not run.liveness.is_queued():
                launch.terminate_run(run)
        strays = self.list_strays()
        for process in self.server.list_processes():
            process.kill()
        return strays


def _describe(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return f"process {process.pid}"
