"""What somebody gets of another person's things by every event of the page: nothing, whatever names they know."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from ftlab.data.samples import sample_sets
from ftlab.runs import run_notes, trash
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch, time_estimate
from ftlab.server.paths import get_visitors_dir
from ftlab.server.people.membership import Membership
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile
from ftlab.ui import build_app
from ftlab.ui.common import data_choice
from ftlab.ui.page_server import PageServer
from tests.support import fabricated_runs
from tests.support.people import give_to

SECRETS = ("anns-secret-title", "anns_secret_class", "anns secret notes")
"""Texts in what belongs to Ann; nobody else is to read them."""
EVENT_TIMEOUT_SECONDS = 60


@dataclass
class Room:
    """A class of three, and what Ann has."""

    server: PageServer
    membership: Membership
    people: dict[str, httpx.Client]
    runs_dir: Path
    ended: Run
    at_work: Run
    deleted: Run
    upload_dir: Path = Path()
    file_path: str = ""

    def ask(self, person: str, fn_index: int, values: list[Any]) -> str:
        """All that the server answers to one event of the page."""
        client, session = self.people[person], f"{person}{fn_index}"
        body = {"data": values, "fn_index": fn_index, "session_hash": session, "event_data": {"index": 0}}
        joined = client.post("/gradio_api/queue/join", json=body)
        told = [joined.text]
        if joined.status_code == 200:
            with client.stream(
                "GET", "/gradio_api/queue/data", params={"session_hash": session}, timeout=EVENT_TIMEOUT_SECONDS
            ) as stream:
                for line in stream.iter_lines():
                    told.append(line)
                    if "process_completed" in line or "close_stream" in line:
                        break
        return "\n".join(told)


def zip_of_classes() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in (SECRETS[1], "other"):
            for number in range(4):
                image = io.BytesIO()
                Image.new("RGB", (24, 24), (40 * number, 90, 120)).save(image, "PNG")
                archive.writestr(f"pictures/{name}/{number}.png", image.getvalue())
    return buffer.getvalue()


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    place = tmp_path_factory.mktemp("room")
    samples = place / "samples"
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (samples / name).mkdir(parents=True)
        Image.new("RGB", (24, 24)).save(samples / name / "1.png")
    runs_dir = place / "runs"
    profile = ServerProfile(None, runs_dir, ProfileKind.CLASSROOM)
    data_choice.scan_futures.clear()
    data_choice.split_catalogs.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(place / "uploads"))
        patch.setattr(sample_sets, "ensure_sample_set", lambda *_, **__: samples)
        patch.setattr(time_estimate, "find_known_estimate", lambda *_: time_estimate.TimeEstimate(12.0, 190.0))
        patch.setattr(launch, "spawn_process", lambda _words, run: run)
        membership = Membership(profile.kind, runs_dir)
        with PageServer(profile, build_app(profile), host="127.0.0.1", port=0, membership=membership) as server:
            people = {name: httpx.Client(base_url=server.url, timeout=30) for name in ("ann", "ben", "stranger")}
            for name in ("ann", "ben"):
                people[name].get("/ftlab/join")
                answer = people[name].post("/ftlab/join", json={"code": membership.room_code, "name": name})
                assert answer.status_code == 200
            yield fill_room(Room(server, membership, people, runs_dir, *make_runs(membership, runs_dir)))
            for client in people.values():
                client.close()


def make_runs(membership: Membership, runs_dir: Path) -> tuple[Run, Run, Run]:
    """A run of Ann's that has ended, one at work and a deleted one, each with her words in it."""
    (ann_id,) = (member_id for member_id, member in membership.list_members().items() if member.name == "ann")
    ann = membership.identify(ann_id)
    ended = fabricated_runs.make(runs_dir, [*fabricated_runs.story(), fabricated_runs.ended("stopped")])
    at_work, deleted = fabricated_runs.make_at_work(runs_dir), fabricated_runs.make(runs_dir, fabricated_runs.story())
    for run in (ended, at_work, deleted):
        give_to(run, ann)
        run_notes.write_notes(run, title=SECRETS[0], notes=SECRETS[2])
    return ended, at_work, trash.discard_runs([deleted])[0]


def fill_room(room: Room) -> Room:
    """Let Ann send a zip of pictures, by the page's own events."""
    ann = room.people["ann"]
    (path,) = ann.post("/gradio_api/upload", files={"files": ("pets.zip", zip_of_classes())}).json()
    room.file_path = path
    (event,) = [one for one in list_events(room) if one["api_name"] == "receive_upload"]
    file = {"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": "pets.zip"}
    told = room.ask("ann", event["id"], [file, "", 0.25, 0.25, ""][: len(event["inputs"])])
    assert SECRETS[1] in told, "the probe sees what it looks for"
    room.upload_dir = next(get_visitors_dir().iterdir())
    (room.file_path,) = ann.post("/gradio_api/upload", files={"files": ("anns.png", b"anns picture")}).json()
    return room


def list_events(room: Room) -> list[dict[str, Any]]:
    return list(room.people["ann"].get("/config").json()["dependencies"])


def fill_inputs(room: Room, event: dict[str, Any], components: dict[int, dict[str, Any]], variant: int) -> list[Any]:
    """Values of an event's inputs that name what is Ann's, as far as Gradio lets them through."""
    run = (room.ended, room.at_work)[variant]
    text = (run.name, room.upload_dir.name)[variant]
    file = {"path": room.file_path, "meta": {"_type": "gradio.FileData"}}
    state = {"run": run.name, "mine": [run.name], "beside": [run.name, room.deleted.name]}
    selection = {"names": [(run, room.deleted)[variant].name], "most": 100, **state}
    values: dict[str, Any] = {
        "browserstate": state,
        "json": selection,
        "checkboxgroup": [room.ended.name, room.at_work.name],
        "number": 0.2,
        "slider": 0.2,
        "checkbox": True,
        "image": file,
        "file": [file] if variant else file,
        "gallery": [],
        "dataframe": {"headers": [], "data": []},
    }
    filled = []
    for component in (components[number] for number in event["inputs"]):
        choices = [value for _, value in component["props"].get("choices") or []]
        if component["type"] == "radio":
            filled.append("upload" if "upload" in choices else component["props"].get("value"))
        elif choices and component["type"] == "dropdown" and not component["props"].get("allow_custom_value"):
            filled.append(component["props"].get("value") or choices[0])
        else:
            filled.append(values.get(component["type"], text))
    return filled


def find_secrets(room: Room, told: str) -> list[str]:
    return [secret for secret in (*SECRETS, str(room.runs_dir), room.upload_dir.name, "anns picture") if secret in told]


def snapshot(room: Room) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for run in (room.ended, room.at_work, room.deleted)
        for path in run.path.rglob("*")
        if path.is_file()
    }


@pytest.fixture(autouse=True)
def one_home(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of all tests keeps what was sent to it."""
    monkeypatch.setenv("FTLAB_HOME", str(room.upload_dir.parents[1]))


def test_without_a_name_no_event_is_answered(room: Room) -> None:
    stranger = room.people["stranger"]
    for event in list_events(room):
        for path in ("queue/join", f"call/{event['api_name']}", f"run/{event['api_name']}"):
            answer = stranger.post(f"/gradio_api/{path}", json={"data": [], "fn_index": event["id"]})
            assert answer.status_code == 401, (path, event["id"])
    for path in ("/config", "/gradio_api/info", f"/gradio_api/file={room.file_path}"):
        assert stranger.get(path).status_code == 401


@pytest.mark.parametrize("variant", [0, 1], ids=["a run that ended", "a run at work, a deleted one, the upload"])
def test_by_no_event_does_a_classmate_see_or_change_what_is_anothers(room: Room, variant: int) -> None:
    config = room.people["ben"].get("/config").json()
    components = {component["id"]: component for component in config["components"]}
    before = snapshot(room)
    events = [event for event in config["dependencies"] if event["backend_fn"]]
    assert len(events) > 100
    for event in events:
        told = room.ask("ben", event["id"], fill_inputs(room, event, components, variant))
        # A refusal may repeat what somebody typed.
        assert not set(find_secrets(room, told)) - {(room.ended.name, room.upload_dir.name)[variant]}, event
    assert snapshot(room) == before
    assert not room.at_work.liveness.is_stop_requested()
    assert room.upload_dir.is_dir()


def test_nor_by_the_routes_of_its_own(room: Room) -> None:
    ben, ann = room.people["ben"], room.people["ann"]
    assert ann.get(f"/gradio_api/file={room.file_path}").content == b"anns picture"
    assert ben.get(f"/gradio_api/file={room.file_path}").status_code in (403, 404)
    for by_force in (False, True):
        answer = ben.post("/ftlab/stop", json={"run": room.at_work.name, "by_force": by_force})
        assert answer.status_code == 404
        assert not find_secrets(room, answer.text)
    assert not room.at_work.liveness.is_stop_requested()
    for path in ("/ftlab/teacher/stop", "/ftlab/teacher/end", "/ftlab/teacher/roster"):
        assert ben.post(path, json={}).status_code == 403
        assert ben.get(path).status_code == 403


def test_what_is_ones_own_is_seen_by_the_same_events(room: Room) -> None:
    """Else the tests above would find nothing because they look at nothing."""
    config = room.people["ann"].get("/config").json()
    components = {component["id"]: component for component in config["components"]}
    reading = [event for event in config["dependencies"] if event["backend_fn"] and not event["queue"]]
    telling = [
        event["id"]
        for event in reading
        if SECRETS[0] in room.ask("ann", event["id"], fill_inputs(room, event, components, 0))
    ]
    assert len(telling) >= 5


def test_nobody_reads_a_secret_in_the_page_itself(room: Room) -> None:
    for path in ("/", "/config", "/gradio_api/info"):
        assert not find_secrets(room, json.dumps(room.people["ben"].get(path).text))


def test_a_title_that_looks_like_a_folder_stays_text(room: Room) -> None:
    (event,) = [one for one in list_events(room) if one["api_name"] == "save_notes"]
    components = {component["id"]: component for component in room.people["ann"].get("/config").json()["components"]}
    for title, notes in (("/ftlab/images/pets", "/ftlab/images"), (SECRETS[0], SECRETS[2])):
        values: list[Any] = [None] * len(event["inputs"])
        for position, number in enumerate(event["inputs"]):
            props = components[number]["props"]
            known = {"shelf-title": title, "shelf-notes": notes, "shelf-kept": {"names": [room.ended.name]}}
            values[position] = known.get(props.get("elem_id"), props.get("value"))
        told = room.ask("ann", event["id"], values)
        stored = run_notes.read_notes(room.ended)
        assert (stored.title, stored.notes) == (title, notes), told


ANNS_NAMES = [
    # A request of another person's that names Ann's session, or the event that she has started in it.
    ("POST", "queue/join", {"data": [], "fn_index": 0, "session_hash": "SESSION"}),
    ("POST", "queue/join", {"data": [], "fn_index": 0, "session_hash": "own", "event_id": "EVENT"}),
    ("POST", "call/scan", {"data": [], "session_hash": "SESSION"}),
    ("POST", "run/predict", {"data": [], "fn_index": 0, "session_hash": "SESSION"}),
    ("POST", "run/predict", {"data": [], "fn_index": 0, "session_hash": "own", "event_id": "EVENT"}),
    ("POST", "cancel", {"session_hash": "SESSION", "fn_index": 0, "event_id": "x"}),
    ("POST", "cancel", {"session_hash": "own", "fn_index": 0, "event_id": "EVENT"}),
    ("POST", "reset", {"event_id": "EVENT"}),
    ("GET", "queue/data?session_hash=SESSION", None),
    ("GET", "heartbeat/SESSION", None),
    ("GET", "call/scan/EVENT", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ANNS_NAMES, ids=[f"{m} {p}" for m, p, _ in ANNS_NAMES])
def test_nobody_uses_the_session_or_the_event_of_another(
    room: Room, method: str, path: str, body: dict[str, Any] | None
) -> None:
    event = next(one for one in list_events(room) if one["api_name"] == "receive_upload")
    session = f"anns-session-{ANNS_NAMES.index((method, path, body))}"
    joined = room.people["ann"].post(
        "/gradio_api/queue/join",
        json={"data": [None] * len(event["inputs"]), "fn_index": event["id"], "session_hash": session},
    )
    names = {"SESSION": session, "EVENT": joined.json()["event_id"]}
    text = json.dumps(body) if body else ""
    for name, value in names.items():
        path, text = path.replace(name, value), text.replace(name, value)
    content = text.encode() if body else None
    answer = room.people["ben"].request(method, f"/gradio_api/{path}", content=content, timeout=10)
    assert (answer.status_code, "Load it again" in answer.text) == (403, True)
    with room.people["ann"].stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        assert any("process_completed" in line for line in stream.iter_lines()), "it is Ann's all the same"
