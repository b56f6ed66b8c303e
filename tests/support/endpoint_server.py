"""A server of each kind with the endpoints for programs, its people, and a run of Ann's that was trained in seconds."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from ftlab.data.samples import sample_sets
from ftlab.inference import load_model
from ftlab.runs import run_notes, run_quota
from ftlab.runs.directory import Run
from ftlab.runs.jobs import time_estimate
from ftlab.runs.queue.job_queue import JobQueue
from ftlab.server.people.membership import Membership
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui import build_app
from ftlab.ui.common import data_choice
from ftlab.ui.page_server import PageServer
from tests.support import drawn_images, short_trainings

TITLE = "anns-secret-title"
"""Title of Ann's run, which nobody else is to read unless she shares it."""
JOINED_AS = {
    ProfileKind.LOCAL: {},
    ProfileKind.NETWORK: {"ann": "", "ben": "", "teacher": "teacher_code"},
    ProfileKind.CLASSROOM: {"ann": "room_code", "ben": "room_code", "teacher": "teacher_code"},
    ProfileKind.SPACE: {"ann": "", "ben": "", "teacher": "teacher_code"},
}
"""Who has a cookie, by the kind of server, and the code that they have typed; a stranger has none."""


@dataclass
class EndpointServer:
    """A server, and the cookies of its people; `trained` is the run of Ann, or of the host."""

    server: PageServer
    kind: ProfileKind
    cookies: dict[str, str]
    pictures: Path
    runs: Path
    trained: Run

    @property
    def url(self) -> str:
        return self.server.url

    def open_client(self, person: str) -> httpx.Client:
        headers = {"Cookie": self.cookies[person]} if self.cookies.get(person) else {}
        return httpx.Client(base_url=self.url, timeout=60, headers=headers)

    def call(self, person: str, endpoint: str, *values: Any) -> tuple[int, Any]:
        """Status and answer of a call; of a refusal, what is told in place of it."""
        with self.open_client(person) as client:
            answer = client.post(f"/gradio_api/run/{endpoint}", json={"data": list(values)})
        told = answer.json()
        return answer.status_code, told["data"][0] if answer.status_code == 200 else told

    def upload(self, person: str, name: str, content: bytes) -> str:
        with self.open_client(person) as client:
            answer = client.post("/gradio_api/upload", files={"files": (name, content)})
        answer.raise_for_status()
        return str(answer.json()[0])


@contextmanager
def serve_endpoints(place: Path, trained: Run, kind: ProfileKind, *, has_mcp: bool = False) -> Iterator[EndpointServer]:
    """A server of this kind, on which Ann (the host, where there is nobody else) owns the trained run. A training that
    is started stays where it waits, and every sample set is a folder of drawn pictures."""
    pictures = place / "pictures"
    if not pictures.is_dir():
        drawn_images.tiny(pictures)
    data_root = None if kind is ProfileKind.SPACE else place
    max_minutes = 10.0 if kind is ProfileKind.SPACE else 0.0
    # A folder for each server: the members of a class are remembered there.
    run = Run(place / f"runs-{kind.value}" / trained.name)
    shutil.copytree(trained.path, run.path)
    profile = ServerProfile(data_root, run.path.parent, kind, max_minutes=max_minutes, has_mcp=has_mcp)
    data_choice.scan_futures.clear()
    data_choice.split_catalogs.clear()
    with pytest.MonkeyPatch.context() as patch:
        declare_places(place, patch)
        patch.setattr(sample_sets, "ensure_sample_set", lambda *_, **__: pictures)
        patch.setattr(time_estimate, "find_known_estimate", lambda *_: time_estimate.TimeEstimate(12.0, 190.0))
        patch.setattr(JobQueue, "dispatch", lambda _queue: None)
        membership = Membership(kind, profile.runs_dir)
        with PageServer(profile, build_app(profile), host="127.0.0.1", port=0, membership=membership) as server:
            cookies = {
                name: _get_cookie(server.url, getattr(membership, code) if code else "", name)
                for name, code in JOINED_AS[kind].items()
            }
            people = EndpointServer(server, kind, cookies, pictures, profile.runs_dir, run)
            ann_id = cookies.get("ann", "").partition("=")[2].partition(".")[0]
            run_quota.write_owner(run, run_quota.make_owner(ann_id))
            run_notes.write_notes(run, title=TITLE)
            # From then on, answers are the same to the bit.
            load_model.load_predictor(run).prepare_graph().result(120)
            yield people


def declare_places(place: Path, patch: pytest.MonkeyPatch) -> None:
    """Let a server of this process keep what was sent to it in `place`."""
    patch.setenv("GRADIO_TEMP_DIR", str(place / "uploads"))
    patch.setenv("FTLAB_HOME", str(place / "home"))


def _get_cookie(url: str, code: str, name: str) -> str:
    """The header by which a browser that has joined is known."""
    cookie = httpx.get(f"{url}ftlab/join").headers["set-cookie"].partition(";")[0]
    if code:
        body = {"code": code, "name": name}
        httpx.post(f"{url}ftlab/join", json=body, headers={"Cookie": cookie}).raise_for_status()
    return str(cookie)


@contextmanager
def train_run(place: Path) -> Iterator[Run]:
    """A run that was trained for one epoch, and the backbone that it needs."""
    with pytest.MonkeyPatch.context() as patch:
        begin = short_trainings.beginning(drawn_images.tiny(place / "images"), place / "runs", patch)
        run = begin(mode="scratch", epochs=1)
        short_trainings.go(run)
        yield run


def make_data_url(width: int = 40, height: int = 30) -> str:
    """An image as programs send it."""
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (200, 140, 40)).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
