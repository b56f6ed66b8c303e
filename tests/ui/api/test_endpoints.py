"""The endpoints for programs: what they answer, to whom, and how they refuse."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from ftlab.runs import run_notes, run_store
from ftlab.runs.directory import Run
from ftlab.server.people.rights import RIGHTS, Action, ProfileKind, Relation, Role, RunAction, may_do, may_do_with_run
from ftlab.ui.api.answers import MAX_OVERLAY_SIDE, make_plain
from ftlab.ui.api.endpoints import ENDPOINT_NAMES
from ftlab.ui.api.refusals import MAX_TEXT_CHARS
from ftlab.ui.predict import answer_threads
from ftlab.ui.train import visible_runs
from tests.support import drawn_images, fabricated_runs
from tests.support.endpoint_server import (
    TITLE,
    EndpointServer,
    make_data_url,
    serve_endpoints,
)

IMAGE = make_data_url()
KINDS = tuple(ProfileKind)


# What they answer


def test_scan_tells_classes_counts_splits_and_problems(local: EndpointServer) -> None:
    (local.pictures / "blue" / "broken.jpg").write_bytes(b"no image")
    status, answer = local.call("host", "scan", str(local.pictures), 0.25, 0)
    (local.pictures / "blue" / "broken.jpg").unlink()
    assert status == 200, answer
    assert (answer["images"], answer["splits"]) == (24, {"train": 18, "val": 6, "test": 0})
    assert [entry["name"] for entry in answer["classes"]] == ["amber", "blue", "green"]
    assert [entry["images"] for entry in answer["classes"]] == [{"train": 6, "val": 2, "test": 0}] * 3
    assert answer["random_splits"] == ["val", "test"]
    assert [problem["file"] for problem in answer["problems"]] == ["blue/broken.jpg"]
    assert answer["problem_count"] == 1
    assert answer["data"] == str(local.pictures)


def test_a_zip_is_uploaded_scanned_and_trained_on(local: EndpointServer) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for file in local.pictures.rglob("*.*"):
            archive.write(file, file.relative_to(local.pictures))
    path = local.upload("host", "mine.zip", stream.getvalue())
    status, answer = local.call("host", "scan", path)
    assert (status, answer["images"]) == (200, 24)
    status, started = local.call("host", "start", {"data": answer["data"], "epochs": 2, "mode": "scratch"})
    assert status == 200, started
    config = Run(local.runs / started["run"]).load_config()
    assert (Path(config.data).parent.name, config.epochs, config.mode) == (answer["data"], 2, "scratch")
    local.call("host", "stop", started["run"])


def test_a_training_is_started_asked_for_and_stopped(local: EndpointServer) -> None:
    settings = {"data": "shapes", "backbone": "mobilenet_v2", "mode": "full", "learning_rate": 0.01, "nesterov": True}
    status, started = local.call("host", "start", settings)
    assert status == 200, started
    run = Run(local.runs / started["run"])
    config = run.load_config()
    assert (config.sample, config.mode, config.learning_rate, config.nesterov) == ("shapes", "full", 0.01, True)
    assert started["queue_place"] == 1
    assert "1st" in started["queue_note"]
    assert local.call("host", "status", run.name)[1]["state"] == "queued"
    status, stopped = local.call("host", "stop", run.name)
    assert (status, stopped["status"]) == (200, "stopped")
    assert local.call("host", "status", run.name)[1]["queue_place"] is None


def test_status_tells_epoch_metrics_and_time_left(local: EndpointServer) -> None:
    run = fabricated_runs.make_at_work(local.runs)
    status, answer = local.call("host", "status", run.name)
    assert status == 200, answer
    assert (answer["status"], answer["state"]) == ("running", "training")
    assert (answer["epoch"], answer["epochs"], answer["step"], answer["steps"]) == (2, 4, 20, 40)
    assert answer["best"] == {"epoch": 2, "val_accuracy": 0.9375}
    assert answer["metrics"]["val_accuracy"] == 0.9375
    assert answer["seconds_left"] == pytest.approx(2.0)
    run.liveness.request_stop()
    assert local.call("host", "status", run.name)[1]["state"] == "stopping"
    run.append_event(fabricated_runs.ended("stopped"))


def test_predict_gives_the_most_probable_classes(local: EndpointServer, trained: Run) -> None:
    status, answer = local.call("host", "predict", IMAGE, trained.name, 2)
    assert status == 200, answer
    assert {"name", "display_name", "probability"} == set(answer["classes"][0])
    first, second = (entry["probability"] for entry in answer["classes"])
    assert first >= second
    assert (answer["run"], answer["class_count"], answer["rejected"], answer["threshold"]) == (
        *(trained.name, 3, False),
        None,
    )
    everything = local.call("host", "predict", IMAGE, trained.name, 1000)[1]["classes"]
    assert sum(entry["probability"] for entry in everything) == pytest.approx(1.0)
    assert {entry["name"] for entry in everything} == {"amber", "blue", "green"}


def test_the_model_without_fine_tuning_answers_where_no_run_is_named(local: EndpointServer) -> None:
    status, answer = local.call("host", "predict", IMAGE)
    assert (status, answer["run"], answer["class_count"], len(answer["classes"])) == (200, "", 1000, 5)


def test_explain_adds_the_map_as_numbers_and_as_a_picture(local: EndpointServer, trained: Run) -> None:
    image = make_data_url(900, 300)
    answers = [local.call("host", "explain", image, trained.name, name)[1] for name in ("green", "Green", "")]
    assert answers[0]["explained"] == answers[1]["explained"]
    assert answers[0]["explained"]["name"] == "green"
    assert answers[2]["explained"] == answers[2]["classes"][0]
    for answer in answers:
        assert answer["classes"] == local.call("host", "predict", image, trained.name)[1]["classes"]
        assert (answer["image_size"], answer["method"]) == ([900, 300], "grad_cam")
        x0, y0, x1, y1 = answer["visible_box"]
        assert 0 < x0 < x1 < 900, "the network sees the middle of a wide picture"
        assert 0 <= y0 < y1 <= 300
        assert all(0 <= value <= 1 for row in answer["map"] for value in row)
        if answer["has_evidence"]:
            content = base64.b64decode(answer["overlay"].partition(",")[2])
            with Image.open(io.BytesIO(content)) as overlay:
                assert max(overlay.size) == MAX_OVERLAY_SIDE
        else:
            assert answer["overlay"] is None


def test_runs_lists_the_newest_first_and_no_more_than_asked(local: EndpointServer, trained: Run) -> None:
    for _ in range(2):
        fabricated_runs.make(local.runs, [*fabricated_runs.story(), fabricated_runs.ended()])
    status, rows = local.call("host", "runs")
    assert status == 200, rows
    names = [row["run"] for row in rows]
    assert names == run_store.list_run_names(local.runs)
    (row,) = (row for row in rows if row["run"] == trained.name)
    assert (row["title"], row["status"], row["mode"], row["problem"]) == (TITLE, "finished", "scratch", "")
    assert [row["run"] for row in local.call("host", "runs", 1)[1]] == names[:1]


def test_numbers_that_are_not_finite_and_halves_of_characters_become_plain() -> None:
    odd_values: dict[str, Any] = {
        "a": [float("nan"), (1, float("-inf"))],
        "b\ud800": "c\ud800"[1:],
        "d": {"e": 0.5, "f": None, "g": True},
    }
    plain = make_plain(odd_values)
    assert plain["a"] == [None, [1, None]]
    assert plain["d"] == {"e": 0.5, "f": None, "g": True}
    assert json.dumps(list(plain.values()), allow_nan=False).encode()
    assert "\\ud800" in plain["b\ud800"]


# How an image is sent


def test_an_image_is_a_data_url_an_upload_or_a_file_object(local: EndpointServer, trained: Run) -> None:
    content = base64.b64decode(IMAGE.partition(",")[2])
    path = local.upload("host", "one.png", content)
    answers = [
        local.call("host", "predict", image, trained.name)
        for image in (IMAGE, path, {"path": path, "meta": {"_type": "gradio.FileData"}})
    ]
    assert [status for status, _ in answers] == [200] * 3
    assert answers[0] == answers[1] == answers[2]


def test_on_ones_own_machine_an_image_may_lie_where_the_page_may_read(
    local: EndpointServer, trained: Run, tmp_path: Path
) -> None:
    inside = local.pictures / "blue" / "blue_0.png"
    assert local.call("host", "predict", str(inside), trained.name)[0] == 200
    outside = tmp_path / "outside.png"
    outside.write_bytes(inside.read_bytes())
    (local.pictures / "link.png").symlink_to(outside)
    for path in (outside, local.pictures / "link.png", local.pictures, local.trained.best_weights_path):
        assert local.call("host", "predict", str(path), trained.name)[1]["title"] == "call.image_local", path
    (local.pictures / "link.png").unlink()


# Who may what

PEOPLE = {"H": "host", "T": "teacher", "A": "ann", "B": "ben", "S": "stranger"}
GOLDEN_TABLE = {
    # endpoint: who is answered on one's own machine, on a network, in a class, on a Space; H host, T teacher, A Ann,
    # who owns the run, B Ben, who is known to the server as she is, S stranger, who is not
    "scan": ("H", "TABS", "TAB", "TABS"),
    "start": ("H", "TAB", "TAB", "TAB"),
    "status": ("H", "TA", "TA", "TA"),
    "status of a shared run": ("H", "TAB", "TAB", "TAB"),
    "stop": ("H", "TA", "TA", "TA"),
    "stop of a shared run": ("H", "TA", "TA", "TA"),
    "predict": ("H", "TABS", "TAB", "TABS"),
    "predict with the run": ("H", "TA", "TA", "TA"),
    "predict with a shared run": ("H", "TAB", "TAB", "TAB"),
    "explain": ("H", "TABS", "TAB", "TABS"),
    "explain with the run": ("H", "TA", "TA", "TA"),
    "explain with a shared run": ("H", "TAB", "TAB", "TAB"),
    "runs": ("H", "TABS", "TAB", "TABS"),
    "runs has the run": ("H", "TA", "TA", "TA"),
    "runs has a shared run": ("H", "TAB", "TAB", "TAB"),
}


def find_rights(kind: ProfileKind, row: str) -> str:
    """The same by the tables of rights, which the page asks."""
    actions = {"start": Action.START, "predict": Action.PREDICT, "explain": Action.PREDICT}
    names_run = "run" in row.split() or row.split()[0] in ("status", "stop")
    run_action = RunAction.STOP if row.startswith("stop") else RunAction.LOOK
    allowed = ""
    guest = Role.STUDENT if kind is ProfileKind.CLASSROOM else Role.VISITOR
    for letter, role in (("H", Role.HOST), ("T", Role.TEACHER), ("A", guest), ("B", guest), ("S", Role.STRANGER)):
        relation = Relation.OWN if letter in "HA" else Relation.SHARED if "shared" in row else Relation.OTHER
        may = role in RIGHTS[kind] and may_do(kind, role, actions.get(row.split()[0], Action.OPEN))
        allowed += letter if may and (not names_run or may_do_with_run(kind, role, run_action, relation)) else ""
    return allowed


def call_row(server: EndpointServer, person: str, row: str, run: Run) -> bool:
    """Whether a call of the golden table is answered; a refusal is one line, and tells nothing of the run."""
    endpoint = row.split()[0]
    values: dict[str, list[Any]] = {
        "scan": ["shapes"],
        "start": [{"data": "shapes", "mode": "scratch"}],
        "status": [run.name],
        "stop": [run.name],
        "predict": [IMAGE, run.name if "run" in row.split() else ""],
        "explain": [IMAGE, run.name if "run" in row.split() else ""],
        "runs": [1000],
    }
    status, answer = server.call(person, endpoint, *values[endpoint])
    if status == 200:
        if endpoint == "start":
            server.call(person, "stop", answer["run"])
        return "has" not in row.split() or run.name in [entry["run"] for entry in answer]
    text = answer["detail"] if "detail" in answer else answer["error"]
    assert (status in (401, 403, 404), "\n" in text, TITLE in text) == (True, False, False)
    if status != 401:
        assert (answer["title"], status) in (("run.missing", 404), ("run.may_not_start", 403), ("run.not_yours", 403))
    return False


@pytest.mark.parametrize("kind", KINDS, ids=[kind.value for kind in KINDS])
def test_each_endpoint_answers_whom_the_page_would(
    kind: ProfileKind,
    trained: Run,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(visible_runs, "TITLE_MAX_AGE_SECONDS", 0.0)
    with serve_endpoints(tmp_path, trained, kind) as server:
        here = [letter for letter, name in PEOPLE.items() if name in ("host", *server.cookies) or letter == "S"]
        here = [
            letter
            for letter in here
            if (letter == "H") == (kind is ProfileKind.LOCAL) and (letter, kind) != ("S", KINDS[0])
        ]
        for row, columns in GOLDEN_TABLE.items():
            run_notes.write_notes(server.trained, is_shared="shared" in row)
            answered = "".join(letter for letter in here if call_row(server, PEOPLE[letter], row, server.trained))
            assert answered == columns[KINDS.index(kind)] == find_rights(kind, row), row
    assert "Traceback" not in capfd.readouterr().err


def test_answers_to_programs_count_towards_the_bounds_of_the_page(
    local: EndpointServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_threads, "MAX_WAITING_ANSWERS", 0)
    for endpoint, *values in (("predict", IMAGE), ("explain", IMAGE), ("scan", "shapes"), ("runs",)):
        status, answer = local.call("host", endpoint, *values)
        assert (status, answer["title"]) == (429, "server.busy")
        assert answer["error"].startswith("Too many of your requests")


# Refusals

LONG_TEXT = "x" * 900_000


def odd(*values: Any) -> tuple[Any, ...]:
    """Values that are not what an endpoint takes."""
    return values


ATTACKS: list[tuple[str, list[Any], str]] = [
    # endpoint, arguments, code of the refusal; NAMES are those of what is Ann's
    ("status", ["ANNS_RUN"], "run.missing"),
    ("stop", ["ANNS_RUN"], "run.missing"),
    ("predict", [IMAGE, "ANNS_RUN"], "run.missing"),
    ("explain", [IMAGE, "ANNS_RUN"], "run.missing"),
    ("start", [{"data": "shapes", "init_from": "ANNS_RUN"}], "run.missing"),
    ("status", ["../ANNS_RUN"], "run.missing"),
    ("predict", [IMAGE, "../../etc"], "run.missing"),
    ("predict", ["ANNS_UPLOAD"], "call.image"),
    ("predict", ["ANNS_FILE"], "call.image"),
    ("predict", [{"path": "ANNS_UPLOAD"}], "call.image"),
    ("scan", ["ANNS_UPLOAD"], "page.outside"),
    ("scan", ["ANNS_FILE"], "page.outside"),
    ("scan", ["ANNS_TOKEN"], "page.upload_gone"),
    ("start", [{"data": "ANNS_TOKEN"}], "page.upload_gone"),
    ("predict", ["/etc/passwd"], "call.image"),
    ("predict", ["PICTURE"], "call.image"),
    ("predict", ["/ftlab/files/x.png"], "call.image"),
    ("scan", ["/etc"], "page.outside"),
    ("scan", ["../.."], "page.outside"),
    ("scan", ["RUNS"], "page.outside"),
    ("scan", ["a\nb"], "page.no_path"),
    ("scan", ["a\0b"], "page.no_path"),
    ("start", [{"data": "/etc"}], "page.outside"),
    ("start", [{"data": "shapes", "init_from": "/etc/passwd"}], "page.outside"),
    *(
        (name, [address], "call.address")
        for name in ("predict", "explain", "scan")
        for address in (
            "http://127.0.0.1:1/a.png",
            "https://x.example/a.png",
            " HTTPS://x.example",
            "file:///etc/passwd",
            "//x.example/a",
            "ftp://x.example/a",
        )
    ),
    ("start", [{"data": "https://x.example/a.zip"}], "call.address"),
    ("predict", [IMAGE.partition(",")[2]], "call.image"),
    ("predict", [LONG_TEXT], "call.image"),
    ("predict", ["data:image/png;base64,"], "call.data_url"),
    ("predict", ["data:image/png;base64,!!!!"], "call.data_url"),
    ("predict", ["data:image/png," + "A" * 40], "call.data_url"),
    ("predict", ["data:text/html;base64,PGI+"], "call.data_url"),
    ("predict", ["data:image/png;base64,bm8gaW1hZ2U="], "not_a_picture"),
    *(
        ("predict", [value], "call.image")
        for value in odd(None, 7, True, [], [IMAGE], {}, {"path": 7}, {"url": "x"}, "")
    ),
    *(("predict", [IMAGE, value], "call.type") for value in odd(7, True, [], {})),
    *(("predict", [IMAGE, "", value], "call.type") for value in odd("5", True, [], {})),
    *(("predict", [IMAGE, "", value], "config.bounds") for value in odd(0, -1, 1001, 10**30)),
    *(("predict", [IMAGE, "", value], "config.number") for value in odd(float("nan"), float("inf"), 10**400)),
    ("predict", [IMAGE, "", 1.5], "config.whole"),
    ("explain", [IMAGE, "", "no such class"], "config.class"),
    ("explain", [IMAGE, "", LONG_TEXT], "config.class"),
    ("explain", [IMAGE, "", 7], "call.type"),
    ("explain", [IMAGE, "", "", "no such method"], "config.choice"),
    *(("scan", [value], "call.type") for value in odd(7, True, [])),
    ("scan", [""], "call.no_data"),
    ("scan", [None], "call.no_data"),
    *(("scan", ["shapes", value], "call.type") for value in odd("0.2", True, [])),
    ("scan", ["shapes", float("nan")], "config.number"),
    ("scan", ["no such folder"], "page.no_such_folder"),
    *(("start", [value], "call.type") for value in odd(None, "shapes", 7, [])),
    ("start", [{}], "call.no_data"),
    ("start", [{"data": "shapes", "epoch": 3}], "call.setting"),
    ("start", [{"data": "shapes", LONG_TEXT: 3}], "call.setting"),
    ("start", [{"data": "shapes", "epochs": "many"}], "config.type"),
    ("start", [{"data": "shapes", "epochs": [1]}], "config.type"),
    ("start", [{"data": "shapes", "epochs": 2.5}], "config.whole"),
    ("start", [{"data": "shapes", "epochs": -1}], "config.bounds"),
    ("start", [{"data": "shapes", "learning_rate": float("nan")}], "config.number"),
    ("start", [{"data": "shapes", "mode": "fast"}], "config.choice"),
    ("start", [{"data": "shapes", "mode": LONG_TEXT}], "config.choice"),
    ("start", [{"data": "shapes", "mode": {}}], "config.choice"),
    ("start", [{"data": "shapes", "backbone": "no such"}], "config.backbone"),
    ("start", [{"data": "shapes", "backbone": 7}], "config.type"),
    ("start", [{"data": "shapes", "nesterov": "perhaps"}], "config.type"),
    *(("status", [value], "call.type") for value in odd(7, [], {})),
    ("status", [""], "run.missing"),
    ("status", [LONG_TEXT], "run.missing"),
    ("stop", ["", "yes"], "call.type"),
    ("runs", ["all"], "call.type"),
    ("runs", [0], "config.bounds"),
]


@pytest.fixture(scope="module")
def network(trained: Run, place: Path) -> Iterator[EndpointServer]:
    with serve_endpoints(place, trained, ProfileKind.NETWORK) as server:
        yield server


@pytest.fixture(scope="module")
def names(network: EndpointServer) -> dict[str, str]:
    """What Ann has, by the words that stand for it in the attacks."""
    with network.open_client("ann") as client:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name in ("a", "b"):
                archive.writestr(f"{name}/1.png", drawn_images.png())
        told = client.post("/gradio_api/upload", files={"files": ("mine.zip", stream.getvalue())}).json()[0]
        scanned = client.post("/gradio_api/run/scan", json={"data": [told]}).json()["data"][0]
    upload = network.upload("ann", "anns.png", drawn_images.png())
    (file,) = (network.pictures.parent / "uploads").rglob("anns.png")
    assert network.call("ann", "predict", upload)[0] == 200, "it is Ann's"
    picture = network.pictures / "blue" / "blue_0.png"
    return {
        **{
            "ANNS_RUN": network.trained.name,
            "ANNS_UPLOAD": upload,
            "ANNS_FILE": str(file),
            "ANNS_TOKEN": scanned["data"],
        },
        **{"PICTURE": str(picture), "RUNS": str(network.runs)},
    }


def fill_names(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str) and len(value) < 1000:
        for word, name in names.items():
            value = value.replace(word, name)
    if isinstance(value, dict):
        return {key: fill_names(item, names) for key, item in value.items()}
    return value


@pytest.mark.parametrize("endpoint", ENDPOINT_NAMES)
def test_what_is_not_allowed_is_refused_in_one_line_and_with_a_code(
    endpoint: str,
    network: EndpointServer,
    names: dict[str, str],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    rows = [(values, code) for name, values, code in ATTACKS if name == endpoint]
    told = {}
    with network.open_client("ben") as client:
        for values, code in rows:
            content = json.dumps({"data": [fill_names(value, names) for value in values]})
            headers = {"Content-Type": "application/json"}
            answer = client.post(f"/gradio_api/run/{endpoint}", content=content, headers=headers)
            refusal = answer.json()
            case = content[:120]
            status = {"run.missing": 404, "run.may_not_start": 403}.get(code, 400)
            assert (answer.status_code, refusal.get("title")) == (status, code), (case, refusal)
            told[case] = refusal["error"]
    assert rows
    for case, text in told.items():
        assert text, case
        assert "\n" not in text, case
        assert len(text) <= MAX_TEXT_CHARS + 1, case
        assert TITLE not in text, case
        assert str(network.pictures.parent) not in text, case
        assert "--" not in text.replace("--data-root", ""), case
    assert not caplog.records
    assert "Traceback" not in capfd.readouterr().err
    assert not network.trained.liveness.is_stop_requested()


@pytest.mark.parametrize("key", ["path", "url"])
def test_a_file_object_with_an_address_is_refused_on_every_server(local: EndpointServer, key: str) -> None:
    image: dict[str, Any] = {"path": "x.png", "meta": {"_type": "gradio.FileData"}, key: "https://x.example/a.png"}
    status, answer = local.call("host", "predict", image)
    assert (status, answer["detail"]) == (403, "This server downloads nothing from other machines.")
    for address in ("http://127.0.0.1:1/a.png", "https://x.example/a.png"):
        assert local.call("host", "predict", address)[1]["title"] == "call.address"


def test_a_data_url_of_two_megabytes_is_refused_and_an_upload_of_it_is_not(local: EndpointServer, trained: Run) -> None:
    stream = io.BytesIO()
    Image.effect_noise((1500, 1500), 90).convert("RGB").save(stream, "JPEG", quality=95)
    content = stream.getvalue()
    assert len(content) > 1_500_000
    image = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
    status, answer = local.call("host", "predict", image, trained.name)
    assert (status, answer["detail"]) == (413, "The request is too large.")
    assert local.call("host", "predict", local.upload("host", "large.jpg", content), trained.name)[0] == 200


def test_an_error_of_ftlabs_own_is_in_the_log_and_not_in_the_answer(
    local: EndpointServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_root: Path) -> list[str]:
        raise KeyError("secret")

    monkeypatch.setattr(run_store, "list_run_names", fail)
    status, answer = local.call("host", "runs")
    assert (status, answer["title"]) == (500, "server.bug")
    assert "secret" not in answer["error"]
    assert "KeyError: 'secret'" in caplog.text


# By Gradio's clients


def test_gradios_client_sends_files_by_name_and_raises_the_one_line(
    local: EndpointServer, trained: Run, tmp_path: Path
) -> None:
    client = Client(local.url, verbose=False, analytics_enabled=False)
    image = tmp_path / "cat.png"
    image.write_bytes(drawn_images.png())
    answer = client.predict(image=handle_file(str(image)), run=trained.name, top_k=2, api_name="/predict")
    assert [set(entry) for entry in answer["classes"]] == [{"name", "display_name", "probability"}] * 2
    with pytest.raises(AppError) as refusal:
        client.predict(run="20260101-000000-none-full-0000", api_name="/status")
    assert refusal.value.title == "run.missing"
    assert "\n" not in refusal.value.message
    with pytest.raises(ValueError, match="Cannot find a function"):
        client.predict(api_name="/show_prediction")


def test_each_endpoint_and_each_parameter_is_described(local: EndpointServer) -> None:
    described = httpx.get(f"{local.url}gradio_api/info").json()["named_endpoints"]
    assert {name.removeprefix("/") for name in described} == set(ENDPOINT_NAMES)
    for name, endpoint in described.items():
        assert endpoint["description"], name
        assert [parameter["parameter_name"] for parameter in endpoint["parameters"]]
        assert all(parameter["type"] for parameter in endpoint["parameters"]), name
