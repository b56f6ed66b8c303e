"""What Gradio has no setting for: it fetches nothing, keeps nothing of a broken upload, and little of each visit.

These tests also fail where a new version of Gradio uses other names than the guard replaces.
"""

from __future__ import annotations

import ast
import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import gradio as gr
import httpx
import pytest
from fastapi.testclient import TestClient
from gradio import processing_utils
from gradio.blocks import Blocks
from gradio.state_holder import StateHolder
from gradio.utils import get_upload_folder
from starlette.types import ASGIApp, Message

from ftlab.core import file_io
from ftlab.server.people.membership import Membership
from ftlab.server.people.person import Person
from ftlab.server.people.rights import ProfileKind, Role
from ftlab.server.profile import ServerProfile
from ftlab.ui import build_app
from ftlab.ui.common import gradio_guard
from ftlab.ui.common.gradio_guard import FetchRefusedError
from ftlab.ui.common.page_events import get_person
from ftlab.ui.page_server import PageServer, mount_page
from tests.support import fabricated_runs
from tests.support.people import give_to

LOCATIONS = ("http://other.example/a.png", "HTTPS://198.51.100.7/a.png", "http://192.0.0.9/a.png", "//other.example/a")
"""Addresses that a payload may name: a host name, an address, one of a reserved range, and one without a scheme."""
_recorded: list[list[str]] = []


def _record(event: str, arguments: tuple[object, ...]) -> None:
    if _recorded and event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        _recorded[-1].append(f"{event} {arguments!r}")


sys.addaudithook(_record)


@pytest.fixture
def attempts() -> Iterator[list[str]]:
    """Connections and look-ups of names that this process attempts."""
    gradio_guard.apply_limits()
    _recorded.append([])
    try:
        yield _recorded[-1]
    finally:
        _recorded.pop()


def wrap(location: str, **more: object) -> dict[str, Any]:
    return {"path": location, "url": location, "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}, **more}


def spell(location: str) -> list[Any]:
    """A file named by an address, in the shapes in which components hold files."""
    file = wrap(location)
    return [
        *(file, [file], location, [[file]], {"image": file, "caption": "a"}, [{"image": file, "caption": None}]),
        *({"background": file, "layers": [file], "composite": file}, {"text": "a", "files": [file]}),
        *({"data": [[file]], "headers": ["a"], "metadata": None}, {"value": file}, wrap(location, is_stream=True)),
    ]


def preprocess(page: Blocks, function: Any, values: list[Any]) -> None:
    """Hand values to the inputs of a page's function, as Gradio does; whatever error comes of it."""
    try:
        anyio.run(page.preprocess_data, function, values, StateHolder.__getitem__(page.state_holder, "visit"), False)
    except Exception as error:
        print(error)


def holder_of(page: Blocks) -> Blocks:
    StateHolder().set_blocks(page)  # type: ignore[no-untyped-call]
    page.has_launched = True
    return page


# --- nothing is fetched


def test_no_input_of_the_page_is_fetched(tmp_path: Path, attempts: list[str]) -> None:
    page = holder_of(build_app(ServerProfile(tmp_path, tmp_path / "runs")))
    # One function each with every kind of input; not each function, since many have the same inputs.
    kinds: dict[frozenset[str], Any] = {}
    for function in page.fns.values():
        kinds.setdefault(frozenset(type(block).__name__ for block in function.inputs), function)
    assert {name for kind in kinds for name in kind} > {"Image", "BrowserState", "UploadButton", "Dropdown", "JSON"}
    for function in kinds.values():
        for value in spell(LOCATIONS[0]):
            preprocess(page, function, [value] * len(function.inputs))
    assert attempts == []


@pytest.mark.parametrize("location", LOCATIONS)
def test_no_component_of_gradio_fetches(location: str, attempts: list[str]) -> None:
    """Those that the page does not use too: it may one day."""
    kinds = (
        *(gr.Image, gr.File, gr.UploadButton, gr.Gallery, gr.Dataframe, gr.JSON, gr.BrowserState, gr.State, gr.Textbox),
        *(gr.ImageEditor, gr.ImageSlider, gr.AnnotatedImage, gr.MultimodalTextbox, gr.Chatbot, gr.Video, gr.Audio),
        *(gr.Model3D, gr.HTML, gr.Markdown, gr.DownloadButton, gr.Label),
    )
    with gr.Blocks() as page:
        for kind in kinds:
            gr.on(None, lambda value: value, kind(), None)
    holder_of(page)
    for function in page.fns.values():
        for value in spell(location):
            preprocess(page, function, [value])
            for block in function.inputs:
                try:  # what a handler would give back of it
                    processing_utils.move_files_to_cache(value, block, postprocess=True)
                except FetchRefusedError:
                    continue
    assert attempts == []


def test_the_routes_of_the_page_fetch_nothing(tmp_path: Path, attempts: list[str]) -> None:
    page = build_app(ServerProfile(tmp_path, tmp_path / "runs"))
    with TestClient(create_app(tmp_path, page), base_url="http://127.0.0.1:7860") as client:
        attempts.clear()  # the client's own
        for location in LOCATIONS[1:3]:
            for route in ("file=", "proxy=", "file/", "stream/a/b/1/"):
                assert client.get(f"/gradio_api/{route}{location}", follow_redirects=False).status_code in (403, 404)
            for value in spell(location):
                for name in ("run/predict", "queue/join", "call/scan"):
                    body = {"data": [value], "event_data": value, "session_hash": "visit", "fn_index": 0}
                    status = client.post(f"/gradio_api/{name}", json=body).status_code
                    # Text that is no file may hold an address; the functions get it as text.
                    assert status == 403 or value == location
    assert attempts == []


@pytest.mark.parametrize(
    "fetch",
    [
        lambda: asyncio.run(processing_utils.async_ssrf_protected_get("http://other.example")),
        lambda: asyncio.run(processing_utils.async_ssrf_protected_get("https://huggingface.co/x")),
        lambda: processing_utils.save_url_to_cache("http://other.example/a", get_upload_folder()),
        lambda: processing_utils.unsafe_download("http://other.example/a", get_upload_folder()),
    ],
)
def test_gradios_functions_that_fetch_are_replaced(fetch: Any, attempts: list[str]) -> None:
    attempts_before = len(attempts)  # an event loop connects to itself on Windows
    with pytest.raises(FetchRefusedError, match="downloads nothing"):
        fetch()
    assert not [attempt for attempt in attempts[attempts_before:] if "example" in attempt or "huggingface" in attempt]


NETWORK_CALLERS = {
    "analytics": "telemetry, which is off",
    "blocks": "launch() asks its own server to start; share links, which are off",
    "components.audio": "reads the ending of a name",
    "external": "gr.load, which is not used",
    "external_utils": "gr.load, which is not used",
    "history": "run history, which is off: by processing_utils",
    "http_server": "looks for a free port",
    "image_utils": "by processing_utils",
    "mcp": "off",
    "networking": "share links, which are off",
    "node_server": "off",
    "oauth": "no sign-in",
    "processing_utils": "replaced",
    "route_utils": "replaced",
    "routes": "`proxy=`: replaced and not in the table of routes; editing by a language model: not in the table",
    "static_server": "asks its own server",
    "tunneling": "share links, which are off",
    "utils": "an article by its address, when a page is built",
    "workflow": "not used",
    "workflow_api": "not used",
    "workflow_provider_shims": "not used",
}
"""Modules of Gradio that can reach a network, and why they do not."""


def test_no_other_module_of_gradio_can_reach_a_network() -> None:
    root = Path(gr.__file__).parent
    ways = {"httpx", "safehttpx", "sh", "requests", "urllib.request", "socket", "aiohttp", "websockets", "http.client"}
    callers = set()
    for path in root.rglob("*.py"):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        if module.startswith(("cli", "_vendor", "test_data", "_frontend_code")):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {
            name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        }
        if imported & ways:
            callers.add(module)
    assert callers <= set(NETWORK_CALLERS), "a new version of Gradio: see what these do, and whether they are replaced"


# --- nothing is kept


def create_app(place: Path, page: Blocks | None = None) -> Any:
    """The server of a page, with ftlab's middleware; of an empty one, which is built at once."""
    return mount_page(ServerProfile(None, place / "runs"), page or gr.Blocks().queue())


def upload(app: ASGIApp, *parts: bytes, stated_bytes: int | None = None, is_cut: bool = False) -> list[int]:
    """Statuses of the answers to an upload of these parts of a body; cut: the visitor leaves after the last one."""
    statuses: list[int] = []
    messages: list[Message] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if not is_cut:
        messages[-1]["more_body"] = False

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    size = sum(map(len, parts)) if stated_bytes is None else stated_bytes
    headers = [("host", "127.0.0.1"), ("content-length", str(size)), ("content-type", f"{FORM}; boundary=cut")]
    scope = {
        **{"type": "http", "method": "POST", "path": "/gradio_api/upload", "query_string": b"", "client": None},
        **{"headers": [(name.encode(), value.encode()) for name, value in headers], "root_path": "", "scheme": "http"},
        **{"http_version": "1.1", "server": ("127.0.0.1", 80)},
    }
    anyio.run(app, scope, receive, send)
    return statuses


FORM = "multipart/form-data"
PART = '--cut\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
END = b"\r\n--cut--\r\n"
CONTENT = b"x" * 300_000


def part(name: str = "files", file_name: str | None = "a.png") -> bytes:
    more = f'; filename="{file_name}"' if file_name is not None else ""
    return PART.format(name=name, more=more).encode() + CONTENT


def test_a_whole_upload_is_kept(tmp_path: Path) -> None:
    assert upload(create_app(tmp_path), part(), END) == [200]
    assert file_io.get_folder_size(get_upload_folder()) == len(CONTENT)


@pytest.mark.parametrize(
    "case", ["cut", "longer", "no end", "other field", "plain field", "name", "second name", "not a form"]
)
def test_nothing_is_kept_of_an_upload_that_is_refused(case: str, tmp_path: Path) -> None:
    app, parts, options = create_app(tmp_path), [part(), END], {}
    if case == "cut":
        parts, options = [part(), CONTENT], {"is_cut": True, "stated_bytes": 10 * len(CONTENT)}
    elif case == "longer":
        options = {"stated_bytes": len(CONTENT) // 2}
    elif case == "no end":
        parts = [part()]
    elif case == "other field":
        parts = [part("other"), END]
    elif case == "plain field":
        parts = [part("files", None), END]
    elif case == "name":
        parts = [part(file_name=".."), END]
    elif case == "second name":
        parts = [part(), b"\r\n", part(file_name="x/.."), END]
    else:
        parts = [b"no form at all", CONTENT]
    statuses = upload(app, *parts, **options)  # type: ignore[arg-type]
    # Nobody reads an answer to one that was cut; one without an end holds no files, says Gradio.
    assert statuses == {"cut": [], "no end": [200]}.get(case, [400])
    assert file_io.get_folder_size(get_upload_folder()) == 0


def test_a_visit_keeps_what_changed_and_no_copy_of_the_layout() -> None:
    gradio_guard.apply_limits()
    with gr.Blocks() as page:
        menu = gr.Dropdown(["a"], value="a")
        gr.on(None, lambda chosen: chosen, menu, menu)
    holder = StateHolder()  # type: ignore[no-untyped-call]
    holder.set_blocks(page)
    state = holder["visit"]
    state[menu._id] = gr.Dropdown(["b"], value="b")
    state._update_value_in_config(menu._id, "b")
    state._update_config(menu._id)
    assert state[menu._id].choices == [("b", "b")]
    assert holder["another"][menu._id].choices == [("a", "a")]
    assert not list(state.components)


# --- the queue


def test_one_visitor_fills_their_part_of_the_queue_and_others_are_served(tmp_path: Path) -> None:
    go_on = threading.Event()
    profile = ServerProfile(None, tmp_path / "runs", ProfileKind.NETWORK)
    run = fabricated_runs.make_at_work(profile.runs_dir)

    def answer() -> str:
        return f"done for {get_person(profile).id}"

    with gr.Blocks() as page:
        gr.on(None, lambda: str(go_on.wait(20)), None, gr.Textbox(), api_name="wait")
        gr.on(None, answer, None, gr.Textbox(), api_name="answer")
    page.queue(default_concurrency_limit=4, max_size=64, api_open=False)
    server = PageServer(profile, page, host="127.0.0.1", port=0)
    url = server.url

    def join(visitor: httpx.Client, fn_index: int) -> httpx.Response:
        body = {"data": [], "fn_index": fn_index, "session_hash": visitor.cookies["ftlab_id"]}
        return visitor.post("/gradio_api/queue/join", json=body)

    try:
        with httpx.Client(base_url=url) as greedy, httpx.Client(base_url=url) as other:
            assert [client.get("/").status_code for client in (greedy, other)] == [200, 200]
            assert [join(greedy, 0).status_code for _ in range(20)] == [200] * 8 + [429] * 12
            refusal = join(greedy, 1).json()["detail"]
            assert refusal.startswith("Too many of your requests are waiting")
            owner = Person(profile.kind, Role.VISITOR, other.cookies["ftlab_id"].partition(".")[0])
            give_to(run, owner)
            assert other.post("/ftlab/stop", json={"run": run.name}).json() == {"detail": ""}
            assert run.liveness.is_stop_requested()
            event_id = join(other, 1).json()["event_id"]
            with other.stream("GET", f"/gradio_api/call/answer/{event_id}") as stream:
                visitor = other.cookies["ftlab_id"].partition(".")[0]
                assert f"done for {visitor}" in stream.read().decode(), "handlers know whose share it is"
            # Past the queue, nothing that belongs into it can be called.
            assert other.post("/gradio_api/run/answer", json={"data": []}).status_code == 404
            go_on.set()
            with greedy.stream(
                "GET", "/gradio_api/queue/data", params={"session_hash": greedy.cookies["ftlab_id"]}
            ) as stream:
                for line in stream.iter_lines():
                    if "close_stream" in line:
                        break
            assert join(greedy, 1).status_code == 200, "they have finished, and count no longer"
    finally:
        go_on.set()
        server.close()


# --- what a lesson leaves


def test_the_end_of_a_lesson_erases_what_pages_have_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "home" / "uploads"))
    profile = ServerProfile(None, tmp_path / "runs", ProfileKind.CLASSROOM)
    membership = Membership(profile.kind, profile.runs_dir)
    with (
        PageServer(profile, build_app(profile), host="127.0.0.1", port=0, membership=membership) as server,
        httpx.Client(base_url=server.url) as teacher,
    ):
        teacher.get("/ftlab/join")
        teacher.post("/ftlab/join", json={"code": membership.teacher_code, "name": "Ms Lee"})
        picture = b"picture of a student"
        teacher.post("/gradio_api/upload", files={"files": ("a.png", picture)})
        earlier = tmp_path / "home" / "uploads" / "0123" / "b.png"
        earlier.parent.mkdir()
        earlier.write_bytes(picture)
        sent = [path for path in (tmp_path / "home").rglob("*.png") if path.read_bytes() == picture]
        assert len(sent) == 2
        teacher.get("/ftlab/teacher/lesson.zip")
        assert teacher.post("/ftlab/teacher/end", json={"is_saved": True}).status_code == 200
        assert not [path for path in sent if path.exists()]
        assert teacher.get("/").status_code == 200
        assert teacher.get("/theme.css").status_code == 200


def test_a_folder_of_uploads_that_others_use_too_keeps_what_is_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    page = gr.Blocks()
    own, others = tmp_path / "own.png", tmp_path / "others.png"
    for path in (own, others):
        path.write_bytes(b"x")
    page.upload_file_set.add(str(own))
    gradio_guard.erase_sent_files(page)
    assert (own.exists(), others.exists()) == (False, True)
