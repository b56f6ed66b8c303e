"""The teacher's page by its routes: who reaches them, what they answer, what each action does."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from ftlab.config.train_config import TrainConfig
from ftlab.core import user_dirs
from ftlab.runs import run_notes, run_quota, trash
from ftlab.runs.directory import Run
from ftlab.runs.events import Progress
from ftlab.runs.jobs.local_launcher import open_queue
from ftlab.server.class_pages import join_address, lesson_archive
from ftlab.server.paths import get_visitors_dir
from ftlab.server.people.lesson_rules import LessonRules
from ftlab.server.people.membership import Membership
from ftlab.server.people.rights import ProfileKind
from tests.support import fabricated_runs as fab
from tests.support.class_server import ClassServer
from tests.support.hostile_text import EVIL

READ_PATHS = (
    *("/ftlab/teacher", "/ftlab/teacher/roster", "/ftlab/teacher/projected", "/ftlab/teacher/lesson.zip"),
    "/ftlab/projector",
)
ACTIONS = ("stop", "remove", "readmit", "close", "pause", "lock", "hand", "take", "share", "project", "end")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClassServer:
    monkeypatch.setenv("FTLAB_HOME", str(tmp_path / "home"))
    (tmp_path / "data" / "pets").mkdir(parents=True)
    return ClassServer(tmp_path / "runs", data_root=tmp_path / "data")


def make_run(server: ClassServer, owner: str, title: str = "") -> Run:
    run = fab.make(server.profile.runs_dir, [*fab.story(), fab.ended()])
    run_notes.write_notes(run, title=title)
    return server.give(run, owner)


def act(browser: TestClient, action: str, **fields: Any) -> tuple[int, str]:
    answer = browser.post(f"/ftlab/teacher/{action}", json=fields)
    return answer.status_code, answer.json()["detail"]


def read_roster(browser: TestClient) -> dict[str, Any]:
    answer = browser.get("/ftlab/teacher/roster")
    assert answer.headers["cache-control"] == "no-store"
    values: dict[str, Any] = answer.json()
    return values


# Who reaches what


@pytest.mark.parametrize("kind", [ProfileKind.CLASSROOM, ProfileKind.NETWORK, ProfileKind.SPACE])
@pytest.mark.parametrize("role", ["teacher", "guest", "stranger"])
def test_every_route_is_the_teachers_alone(tmp_path: Path, kind: ProfileKind, role: str) -> None:
    server = ClassServer(tmp_path, kind)
    browser = server.open_browser()
    if role == "teacher":
        browser = server.lead()
    elif role == "guest":
        browser = server.enroll("Ann") if kind is ProfileKind.CLASSROOM else browser
        browser.get("/")
    statuses = {path: browser.get(path).status_code for path in READ_PATHS}
    statuses |= {action: browser.post(f"/ftlab/teacher/{action}", json={}).status_code for action in ACTIONS}
    if role == "teacher":
        assert [statuses[path] for path in READ_PATHS] == [200] * 5
        assert not {401, 403} & set(statuses.values())
    else:
        # Pages lead to where one joins; all else says no.
        assert {path for path, status in statuses.items() if status == 303} == {"/ftlab/teacher", "/ftlab/projector"}
        assert set(statuses.values()) == {303, 403}
        assert not LessonRules(tmp_path).read().is_paused


def test_another_site_cannot_make_a_teachers_browser_act(server: ClassServer) -> None:
    teacher = server.lead()
    for action in ACTIONS:
        answer = teacher.post(f"/ftlab/teacher/{action}", json={}, headers={"origin": "https://evil.example"})
        assert answer.status_code == 403


def test_an_unknown_action_and_odd_commands_are_refused_in_words(server: ClassServer) -> None:
    teacher = server.lead()
    assert act(teacher, "dance")[0] == 404
    for action in set(ACTIONS) - {"pause", "close", "lock", "project", "take"}:
        for body in (b"[]", b"{", b'{"run": 3, "member": [], "folder": {}, "upload": [1]}'):
            answer = teacher.post(f"/ftlab/teacher/{action}", content=body)
            assert 400 <= answer.status_code < 500, (action, body)
            assert answer.json()["detail"]


# What is shown


def test_the_page_shows_how_to_join_and_hides_nothing_in_addresses_of_others(server: ClassServer) -> None:
    teacher = server.lead(EVIL)
    page = teacher.get("/ftlab/teacher").text
    assert server.membership.room_code in page
    assert "<svg" in page
    assert "onerror=alert(1)>" not in page
    for outside in ("http://", "https://"):  # but for the name of SVG
        assert not [
            part
            for part in page.split(outside)[1:]
            if not part.startswith(("www.w3.org/2000/svg", "192.", "127.", "10.", "172."))
        ]


def test_the_address_is_the_one_that_others_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join_address, "list_network_addresses", lambda: ["192.168.4.7", "10.0.0.3"])
    for url in ("http://127.0.0.1:7860/ftlab/teacher", "http://localhost:7860/", "http://[::1]:7860/x"):
        assert join_address.build_page_address(url) == "http://192.168.4.7:7860/"
        assert join_address.build_page_address(url, is_reachable=False) == url[: url.index("7860") + 5]
    assert join_address.build_page_address("https://lab.school/ftlab/teacher") == "https://lab.school/"
    assert join_address.build_page_address("http://[fd00::5]:80/") == "http://[fd00::5]:80/"
    monkeypatch.setattr(join_address, "list_network_addresses", list)
    assert join_address.build_page_address("http://127.0.0.1:7860/") == "http://127.0.0.1:7860/"


def test_the_roster_says_what_each_is_doing(server: ClassServer) -> None:
    teacher = server.lead()
    server.enroll("Ann"), server.enroll("Ben"), server.enroll("Cem")
    make_run(server, "Ben", "Cats")
    at_work = fab.make(server.profile.runs_dir, fab.story(epochs=2))
    server.give(fab.at_work(at_work), "Ann")
    answer = read_roster(teacher)
    members = {member["name"]: member for member in answer["members"]}
    assert list(members) == ["Ms Lee", "Ann", "Ben", "Cem"]
    assert (members["Ann"]["run"]["status"], members["Ann"]["run"]["progress"]) == ("running", 0.5)
    assert (members["Ben"]["run"]["title"], members["Ben"]["run"]["accuracy"]) == ("Cats", "93.8 %")
    assert (members["Cem"]["run"], members["Cem"]["run_count"], members["Cem"]["is_here"]) == (None, 0, True)
    assert [(run["owner"], run["is_active"]) for run in answer["runs"]] == [("Ann", True), ("Ben", False)]
    # No secret: neither identities, by which cookies are made, nor codes.
    text = str(answer)
    assert not [key for key in server.membership.list_members() if key in text]


def test_a_training_without_a_title_is_named_by_its_images_and_settings(server: ClassServer) -> None:
    teacher = server.lead()
    act(teacher, "hand", folder="pets", title="Our pets")
    folder = LessonRules(server.profile.runs_dir).read().handed[0].folder
    for images in ({"sample": "shapes"}, {"sample": "", "data": folder}, {"sample": "", "data": "/x/birds"}):
        fab.make(server.profile.runs_dir, [*fab.story(), fab.ended()], **images)
    titles = {run["title"].partition(" · ")[0] for run in read_roster(teacher)["runs"]}
    assert titles == {"Shapes", "Our pets", "birds"}
    assert read_roster(teacher)["runs"][0]["title"].endswith(" · EfficientNet-Lite0 · Frozen")


def test_the_roster_says_what_comes_before_the_first_step_and_that_a_run_stops(server: ClassServer) -> None:
    teacher = server.lead()
    features = Progress(stage="features", done=30, total=120)
    run = fab.at_work(fab.make(server.profile.runs_dir, [fab.started(), features]))
    shown = read_roster(teacher)["runs"][0]
    assert (shown["status_text"], shown["progress"], shown["accuracy"]) == ("Extracting features", 0.25, None)
    act(teacher, "stop", run=run.name)
    shown = read_roster(teacher)["runs"][0]
    assert (shown["status"], shown["status_text"]) == ("running", "Stopping")


def test_the_roster_follows_a_training_and_its_end(server: ClassServer) -> None:
    teacher = server.lead()
    server.enroll("Ann")
    run = server.give(fab.make_at_work(server.profile.runs_dir), "Ann")
    board = read_roster(teacher)
    assert board["runs"][0]["progress"] == 0.5
    fab.write(run, [fab.epoch(3, 0.99, best=True)])
    act(teacher, "pause", is_paused=False)  # an action makes the next answer a new one
    assert (read_roster(teacher)["runs"][0]["progress"], read_roster(teacher)["runs"][0]["accuracy"]) == (
        0.75,
        "99.0 %",
    )
    fab.write(run, [fab.ended()])
    run.liveness.release_ownership()
    act(teacher, "pause", is_paused=False)
    last = read_roster(teacher)["runs"][0]
    assert (last["status"], last["accuracy"], last["is_active"]) == ("finished", "93.8 %", False)


def test_who_waits_is_listed_in_the_order_of_their_turns(server: ClassServer) -> None:
    teacher = server.lead()
    server.enroll("Ann"), server.enroll("Ben")
    server.give(fab.make_at_work(server.profile.runs_dir), "Ann")
    queue, config = open_queue(server.profile.runs_dir), TrainConfig(sample="shapes")
    runs = [queue.add_training(config, run_quota.make_owner(server.find_id(name))) for name in ("Ann", "Ann", "Ben")]
    answer = read_roster(teacher)
    # By person in turn: Ben comes before Ann's second one.
    assert [entry["owner"] for entry in answer["queue"]] == ["Ann", "Ben", "Ann"]
    assert [entry["run"] for entry in answer["queue"]] == [runs[0].name, runs[2].name, runs[1].name]
    assert next(member for member in answer["members"] if member["name"] == "Ben")["run"]["status"] == "queued"
    assert act(teacher, "stop", run=runs[2].name)[0] == 200
    assert [entry["owner"] for entry in wait_for_places(teacher)] == ["Ann", "Ann"]


def wait_for_places(teacher: TestClient) -> list[dict[str, Any]]:
    """The queue, once the second is over for which one look at it serves all."""
    deadline = time.monotonic() + 10
    while len(queue := read_roster(teacher)["queue"]) == 3 and time.monotonic() < deadline:
        time.sleep(0.1)
        act(teacher, "pause", is_paused=False)
    return list(queue)


def test_a_look_at_a_full_class_reads_no_ended_run_again(server: ClassServer, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = server.lead()
    for number in range(20):
        server.give(make_run(server, "Ms Lee", f"Run {number}"), "Ms Lee")
    assert len(read_roster(teacher)["runs"]) == 20
    reads: list[str] = []
    read_json = Run.read_json

    def count_read(run: Run, file_name: str) -> dict[str, Any]:
        reads.append(run.name)
        return read_json(run, file_name)

    monkeypatch.setattr(Run, "read_json", count_read)
    changed = make_run(server, "Ms Lee", "Changed")
    run_notes.write_notes(changed, title="Changed again")
    reads.clear()
    act(teacher, "pause", is_paused=True)
    titles = {run["run"]: run["title"] for run in read_roster(teacher)["runs"]}
    assert titles[changed.name] == "Changed again"
    assert set(reads) == {changed.name}


# Actions


def test_stop_reaches_a_run_and_all_of_them(server: ClassServer) -> None:
    teacher = server.lead()
    server.enroll("Ann")
    runs = [server.give(fab.make_at_work(server.profile.runs_dir), "Ann") for _ in range(2)]
    assert act(teacher, "stop", run=runs[0].name)[0] == 200
    assert [run.liveness.is_stop_requested() for run in runs] == [True, False]
    assert act(teacher, "stop", all=True) == (200, "Trainings asked to stop: 2.")
    assert runs[1].liveness.is_stop_requested()
    assert act(teacher, "stop", run="../../etc")[0] == 404


def test_a_removed_member_joins_again_once_let_in_with_the_old_runs(server: ClassServer) -> None:
    teacher, ann = server.lead(), server.enroll("Ann")
    run = make_run(server, "Ann")
    member = next(entry for entry in read_roster(teacher)["members"] if entry["name"] == "Ann")["member"]
    assert act(teacher, "remove", member=member)[0] == 200
    assert ann.get("/").status_code == 303
    assert [run_["owner"] for run_ in read_roster(teacher)["runs"]] == ["Ann"], "the run keeps its owner's name"
    assert act(teacher, "remove", member=member)[0] == 404
    own = next(entry for entry in read_roster(teacher)["members"] if entry["is_teacher"])["member"]
    assert act(teacher, "remove", member=own)[0] == 409
    assert Membership(ProfileKind.CLASSROOM, server.profile.runs_dir).find_name(run_quota.read_owner(run)) == "Ann"
    fields = {"code": server.membership.room_code, "name": "Anna"}
    refusal = ann.post("/ftlab/join", json=fields)
    assert (refusal.status_code, "let you in again" in refusal.json()["detail"]) == (403, True)
    assert "let you in again" in ann.get("/ftlab/join").text, "the page says so before anybody types"
    assert "let you in again" not in server.open_browser().get("/ftlab/join").text
    assert read_roster(teacher)["barred"] == [{"member": member, "name": "Ann"}]
    assert act(teacher, "readmit", member="0" * 32)[0] == 404
    assert act(teacher, "readmit", member=member) == (200, "Ann may join again.")
    assert read_roster(teacher)["barred"] == []
    assert ann.post("/ftlab/join", json=fields).status_code == 200
    assert server.membership.find_name(run_quota.read_owner(run)) == "Anna"


def test_a_pause_shows_that_the_queue_is_held(server: ClassServer) -> None:
    teacher = server.lead()
    server.enroll("Ann")
    fab.make_at_work(server.profile.runs_dir)
    queue = open_queue(server.profile.runs_dir)
    owner = run_quota.make_owner(server.find_id("Ann"))
    run = queue.add_training(TrainConfig(sample="shapes"), owner, is_pausable=True)
    assert act(teacher, "pause", is_paused=True) == (
        200,
        "New trainings are paused, and the queue is held. Those at work go on.",
    )
    assert [(row["run"], row["place"]) for row in read_roster(teacher)["queue"]] == [(run.name, "held")]


def test_the_room_is_closed_to_new_names_and_opened_again(server: ClassServer) -> None:
    teacher, ann = server.lead(), server.enroll("Ann")
    assert act(teacher, "close", is_closed=True)[0] == 200
    assert read_roster(teacher)["is_closed"]
    ben = server.open_browser()
    assert "nobody new may join" in ben.get("/ftlab/join").text
    fields = {"code": server.membership.room_code, "name": "Ben"}
    assert ben.post("/ftlab/join", json=fields).status_code == 403
    assert ann.get("/").text == "student Ann"
    assert ann.post("/ftlab/join", json={**fields, "name": "Anne"}).status_code == 200
    assert act(teacher, "close", is_closed=False)[0] == 200
    assert ben.post("/ftlab/join", json=fields).status_code == 200


def test_rules_are_set_shown_and_kept(server: ClassServer) -> None:
    teacher = server.lead()
    assert act(teacher, "pause", is_paused=True)[0] == 200
    fields = {"modes": ["full", "x"], "backbones": ["resnet18"], "sources": ["shapes", "/etc"], "max_epochs": 7}
    assert act(teacher, "lock", **fields)[0] == 200
    answer = read_roster(teacher)
    assert answer["is_paused"]
    assert answer["locks"] == {
        "modes": ["full"],
        "backbones": ["resnet18"],
        "sources": ["shapes"],
        "max_epochs": 7,
    }
    restarted = ClassServer(server.profile.runs_dir)
    assert LessonRules(restarted.profile.runs_dir).read().max_epochs == 7
    act(teacher, "lock", modes=["frozen", "full", "scratch"])
    assert read_roster(teacher)["locks"]["modes"] == [], "all of them are no lock"
    for epochs in (-1, 10_001, "7", [7]):
        assert act(teacher, "lock", max_epochs=epochs)[0] == 400


def test_a_folder_below_the_data_root_is_handed_out_and_nothing_else(server: ClassServer, tmp_path: Path) -> None:
    teacher = server.lead()
    assert act(teacher, "hand", folder="pets", title="Our pets") == (200, "“Our pets” is in everybody's Dataset tab.")
    handed = read_roster(teacher)["handed"]
    assert [entry["title"] for entry in handed] == ["Our pets"]
    assert LessonRules(server.profile.runs_dir).read().handed[0].folder == str((tmp_path / "data" / "pets").resolve())
    for folder in ("..", "/etc", "pets/../../home", str(tmp_path), "~", "a\0b", "nothing"):
        assert act(teacher, "hand", folder=folder)[0] in (404, 409), folder
    assert act(teacher, "take", name=handed[0]["name"])[0] == 200
    assert read_roster(teacher)["handed"] == []


def test_a_teacher_hands_out_an_own_upload_by_a_key_that_is_no_token(server: ClassServer) -> None:
    teacher, _ = server.lead(), server.enroll("Ann")
    own, others = (run_quota.make_owner(server.find_id(name))[:16] for name in ("Ms Lee", "Ann"))
    for part, name in ((own, "birds"), (others, "private")):
        (get_visitors_dir() / ("0" * 32 + part) / name).mkdir(parents=True)
    page = teacher.get("/ftlab/teacher").text
    assert "birds" in page
    assert "private" not in page
    assert "0" * 32 not in page
    key = page.partition('<option value="')[2]
    keys = [part.partition('"')[0] for part in page.split('value="') if len(part.partition('"')[0]) == 32]
    assert key
    assert act(teacher, "hand", upload=keys[0])[0] == 200
    assert LessonRules(server.profile.runs_dir).read().handed[0].upload == "0" * 32 + own
    assert act(teacher, "hand", upload="0" * 32 + others)[0] == 404


def test_a_run_is_shared_and_projected_by_its_name(server: ClassServer) -> None:
    teacher = server.lead()
    server.enroll("Ann")
    run = make_run(server, "Ann", EVIL)
    assert act(teacher, "share", run=run.name, is_shared=True)[0] == 200
    assert run_notes.read_notes(run).is_shared
    assert run_notes.read_notes(run).title == EVIL, "title and notes stay"
    assert act(teacher, "project", run=run.name)[0] == 200
    shown = teacher.get("/ftlab/teacher/projected").json()
    assert (shown["run"], shown["accuracy"], shown["title"]) == (run.name, "93.8 %", EVIL)
    assert shown["about"] == "Ann · finished"
    assert "ftlab-curves" in shown["curves"]
    assert read_roster(teacher)["runs"][0]["is_projected"]
    trash.discard_runs([run])
    assert teacher.get("/ftlab/teacher/projected").json()["run"] == ""
    assert act(teacher, "project")[0] == 200
    assert act(teacher, "share", run=run.name, is_shared=True)[0] == 404


# The end of the lesson


def test_the_zip_has_everything_of_the_class_and_nothing_else(server: ClassServer) -> None:
    teacher = server.lead()
    server.enroll('=cmd|"/c calc"!A1')
    run = make_run(server, '=cmd|"/c calc"!A1', "Cats")
    run.best_weights_path.write_bytes(bytes(range(256)) * 20_000)
    fab.make(server.profile.runs_dir, fab.story())  # of the command line: nobody's
    answer = teacher.get("/ftlab/teacher/lesson.zip")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert archive.read(f"runs/{run.name}/best.safetensors") == run.best_weights_path.read_bytes()
        roster = archive.read("roster.csv").decode("utf-8-sig")
    assert {name.split("/")[1] for name in names if name.startswith("runs/")} == {run.name}
    assert f"runs/{run.name}/metrics.jsonl" in names
    assert not [name for name in names if name.endswith(("/owner", "/pid"))]
    assert '"\'=cmd|""/c calc""!A1",student' in roster
    assert run.name in roster
    assert not [code for code in (server.membership.room_code, server.membership.teacher_code) if code in roster]


def test_the_zip_names_no_folder_of_the_machine_and_its_runs_are_of_use(server: ClassServer) -> None:
    teacher = server.lead()
    server.enroll("Ann")
    run = make_run(server, "Ann")
    (run.path / "model.json").write_text('{"classes": ["a"]}')
    folders = (server.profile.runs_dir, server.profile.data_root, Path.home(), user_dirs.get_ftlab_home(), Path.cwd())
    for name in ("worker.log", "split.json", "evaluation.csv"):
        (run.path / name).write_text("".join(f'"{folder}/x y.png", {folder}\n' for folder in folders))
    (run.path / "process.json").write_text(f'{{"counter": "{Path.home()}"}}')
    with zipfile.ZipFile(io.BytesIO(teacher.get("/ftlab/teacher/lesson.zip").content)) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist() if not name.endswith(".safetensors")}
    assert not [(name, folder) for name, text in texts.items() for folder in folders if str(folder) in text]
    assert "/ftlab/images/x y.png" in texts[f"runs/{run.name}/worker.log"]
    assert texts[f"runs/{run.name}/model.json"] == '{"classes": ["a"]}', "the weights hold its checksum"
    assert f"runs/{run.name}/process.json" not in texts


def test_a_training_that_waits_is_no_order_to_train_on_the_machine_where_the_zip_is_opened(server: ClassServer) -> None:
    teacher = server.lead()
    server.enroll("Ann")
    server.give(fab.make_at_work(server.profile.runs_dir), "Ann")
    queue, owner = open_queue(server.profile.runs_dir), run_quota.make_owner(server.find_id("Ann"))
    run = queue.add_training(TrainConfig(sample="shapes"), owner)
    with zipfile.ZipFile(io.BytesIO(teacher.get("/ftlab/teacher/lesson.zip").content)) as archive:
        names = [name for name in archive.namelist() if name.startswith(f"runs/{run.name}/")]
        texts = b"".join(map(archive.read, names))
    assert f"runs/{run.name}/config.json" in names
    assert run.liveness.is_queued()
    assert owner.encode() not in texts, "the identity is the server's business, and a part of the names of uploads"
    assert f"runs/{run.name}/queued" not in names


def test_the_zip_is_written_while_it_is_sent(server: ClassServer) -> None:
    server.lead()
    run = make_run(server, "Ms Lee")
    run.best_weights_path.write_bytes(bytes(lesson_archive.CHUNK_BYTES * 5))
    archive = lesson_archive.LessonArchive(server.membership, server.profile.runs_dir)
    parts = archive.write_zip()
    sizes = [len(part) for part in parts]
    assert sum(sizes) > lesson_archive.CHUNK_BYTES * 5
    assert max(sizes) < lesson_archive.CHUNK_BYTES * 1.1
    assert archive.has_saved_all()


def test_a_question_about_the_zip_saves_nothing(server: ClassServer) -> None:
    teacher = server.lead()
    make_run(server, "Ms Lee")
    assert teacher.head("/ftlab/teacher/lesson.zip").status_code == 200
    assert act(teacher, "end", is_saved=True)[0] == 409


def test_a_zip_that_was_cut_counts_for_nothing(server: ClassServer) -> None:
    server.lead()
    make_run(server, "Ms Lee")
    archive = lesson_archive.LessonArchive(server.membership, server.profile.runs_dir)
    parts = archive.write_zip()
    next(parts)
    del parts
    assert not archive.has_saved_all()


def test_erasing_needs_a_whole_zip_and_the_word_of_the_teacher(server: ClassServer) -> None:
    teacher = server.lead()
    server.enroll("Ann")
    run = make_run(server, "Ann")
    assert act(teacher, "end", is_saved=True)[0] == 409, "no zip yet"
    teacher.get("/ftlab/teacher/lesson.zip")
    for confirmation in (None, False, "true", 1):
        assert act(teacher, "end", is_saved=confirmation)[0] == 400
    later = make_run(server, "Ann")
    assert act(teacher, "end", is_saved=True)[0] == 409, "the zip lacks a run"
    fab.at_work(later)
    assert "at work" in act(teacher, "end", is_saved=True)[1]
    assert run.path.is_dir()
    assert later.path.is_dir()
    assert len(server.membership.list_members()) == 2


def test_the_end_erases_the_class_and_leaves_the_rest_alone(server: ClassServer, tmp_path: Path) -> None:
    teacher, ann = server.lead(), server.enroll("Ann")
    room_code, teacher_code = server.membership.room_code, server.membership.teacher_code
    runs_dir = server.profile.runs_dir
    run, deleted = make_run(server, "Ann"), make_run(server, "Ann")
    trash.discard_runs([deleted])
    left = server.enroll("Cem")
    left_run = make_run(server, "Cem")
    left.post("/ftlab/leave", json={})
    nobodys = fab.make(runs_dir, fab.story())
    strangers = fab.make(runs_dir, fab.story())
    run_quota.write_owner(strangers, run_quota.make_owner("visitor of yesterday"))
    part = run_quota.make_owner(server.find_id("Ann"))[:16]
    own_upload, other_upload = (get_visitors_dir() / ("1" * 32 + end) / "images" for end in (part, "2" * 16))
    for folder in (own_upload, other_upload, tmp_path / "data" / "pets"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "a.png").write_bytes(b"image")
    act(teacher, "hand", folder="pets")
    act(teacher, "pause", is_paused=True)
    teacher.get("/ftlab/teacher/lesson.zip")
    assert act(teacher, "end", is_saved=True) == (
        200,
        "The lesson has ended. Trainings erased: 3. The codes are new.",
    )
    assert not [erased for erased in (run, left_run) if erased.path.exists()]
    assert trash.list_trashed_names(runs_dir) == []
    assert not own_upload.exists()
    assert [kept.path.is_dir() for kept in (nobodys, strangers)] == [True, True]
    assert (other_upload / "a.png").is_file()
    assert (tmp_path / "data" / "pets" / "a.png").is_file()
    assert ann.get("/").status_code == 303
    assert server.membership.room_code != room_code
    assert server.membership.teacher_code != teacher_code
    assert LessonRules(runs_dir).read().handed == ()
    assert teacher.get("/").text == "teacher Ms Lee", "whoever leads goes on"
    for name in ("Ann", "Cem", room_code):
        assert name not in (runs_dir / ".people" / "members.json").read_text(encoding="utf-8")


def test_only_a_class_ends(tmp_path: Path) -> None:
    server = ClassServer(tmp_path, ProfileKind.NETWORK)
    teacher = server.lead()
    assert "End of the lesson" not in teacher.get("/ftlab/teacher").text
    teacher.get("/ftlab/teacher/lesson.zip")
    assert act(teacher, "end", is_saved=True)[0] == 409
