"""Names in place of folders in everything that leaves a server for others."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ftlab.server.paths import get_visitors_dir
from ftlab.server.profile import create_profile
from ftlab.server.redaction import FILES_NAME, FolderNames, PathRedaction, list_named_folders

TOKEN = "0123456789abcdef" * 2


@pytest.fixture
def names(tmp_path: Path) -> FolderNames:
    (tmp_path / "images").mkdir()
    profile = create_profile(host="0.0.0.0", data_root=tmp_path / "images", runs_dir=tmp_path / "runs")
    return FolderNames(list_named_folders(profile, tmp_path / "sent"), key=b"secret")


def test_folders_get_names_and_those_that_a_page_needs_get_folders(names: FolderNames, tmp_path: Path) -> None:
    text = f"{tmp_path}/sent/0123/a.jpg {tmp_path}/runs/x, {tmp_path}/images and {Path.home()}/y."
    hidden = names.hide(text.encode()).decode()
    file_name, rest = hidden.split(" ", 1)
    assert re.fullmatch(rf"{FILES_NAME}-[0-9a-f]{{32}}/0123/a.jpg", file_name)
    assert rest == "/ftlab/runs/x, /ftlab/images and /ftlab/user/y."
    assert names.restore(file_name) == f"{tmp_path}/sent/0123/a.jpg"
    for typed in ("/ftlab/images/b", " /ftlab/images", "folder /ftlab/images/b\n\nflat"):
        assert names.restore(typed) == typed.replace("/ftlab/images", f"{tmp_path}/images")


def test_a_text_that_names_a_folder_stays_as_it_was_typed(names: FolderNames) -> None:
    # Cut to the length of a name, or found by a search, it would tell the folder letter by letter.
    for text in ("/ftlab/user", "/ftlab/home/x", "Ann /ftlab/images", "x/ftlab/images", "/ftlab/images-of-mine"):
        assert names.restore(text) == text
        assert names.restore_values({"title": [text]}) == {"title": [text]}


def test_a_visitors_files_have_a_name_that_is_of_no_use_to_another(names: FolderNames, tmp_path: Path) -> None:
    path, own_path = f"{tmp_path}/sent/0123/a.jpg", f"{tmp_path}/sent/4567/b.jpg"
    (tmp_path / "link").symlink_to(tmp_path / "sent")
    anns, bens = names.hide(path.encode(), "ann").decode(), names.hide(own_path.encode(), "ben").decode()
    assert names.restore(anns, "ann") == path
    assert names.restore(bens, "ben") == own_path
    bens_name = bens.removesuffix("/4567/b.jpg")
    above = names.hide(str(tmp_path).encode(), "ben").decode()
    for stolen in (
        *(anns, path, "/ftlab/files/0123/a.jpg", f"/ftlab/temporary/x/../{path}"),
        *(f"{above}/sent/0123/a.jpg", f"{above}/./sent/0123/a.jpg", f"{above}//sent/0123/a.jpg"),
        *(f"{bens_name}/0123/a.jpg", f"{bens_name}/4567/../0123/a.jpg", f"{bens}/../../0123/a.jpg"),
        *("/ftlab/images/../sent/0123/a.jpg", f"{tmp_path}/link/0123/a.jpg", f"{tmp_path}/./sent/0123/a.jpg"),
        *(f"//{path}", f"/ftlab/files/../..{path}", f"{os.path.relpath(path)}"),
    ):
        told = os.path.realpath(names.restore(stolen, "ben"))
        assert not told.startswith(f"{tmp_path}/sent"), stolen
        assert names.restore_values([{"path": stolen}], "ben") == [{"path": names.restore(stolen, "ben")}]


def test_the_secret_name_of_an_upload_is_told_nobody(names: FolderNames) -> None:
    assert names.hide(f"{get_visitors_dir()}/{TOKEN}/birds".encode()) == b"upload/birds"


def test_every_text_of_an_answer_is_hidden_and_the_rest_is_left_alone(names: FolderNames, tmp_path: Path) -> None:
    secret = f"{tmp_path}/runs/x {get_visitors_dir()}/{TOKEN}/y"
    (tmp_path / "table.csv").write_text(secret * 10_000)
    (tmp_path / "image.png").write_bytes(secret.encode())

    async def answer(request: Request) -> Any:
        kind = request.path_params["kind"]
        if kind == "json":
            return JSONResponse({"told": secret})
        if kind == "text":
            return PlainTextResponse(secret)
        if kind == "stream":
            return StreamingResponse(iter([f"data: {secret}\n\n"] * 3), media_type="text/event-stream")
        return FileResponse(tmp_path / {"table": "table.csv", "image": "image.png"}[kind])

    app = Starlette(routes=[Route("/{kind}", answer)])
    client = TestClient(PathRedaction(app, folder_names=names))
    for kind in ("json", "text", "stream", "table"):
        response = client.get(f"/{kind}")
        assert str(tmp_path) not in response.text
        assert TOKEN not in response.text
        assert "/ftlab/runs/x" in response.text
    assert client.get("/image").content == secret.encode()


def test_what_a_page_sends_back_names_the_folders_again(names: FolderNames, tmp_path: Path) -> None:
    received = []

    async def answer(request: Request) -> Any:
        received.append((request.url.path, await request.json()))
        return JSONResponse({})

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])
    client = TestClient(PathRedaction(app, folder_names=names))
    own_files = names.hide(f"{tmp_path}/sent/0123".encode()).decode()
    for content in (
        json.dumps({"path": f"{own_files}/a b/ü.jpg"}),
        '{"path": "%s/a b/ü.jpg"}' % own_files.replace("files", "\\u0066iles"),  # noqa: UP031 - it has braces
    ):
        client.post(
            f"/gradio_api/file={own_files}/x.jpg",
            content=content.encode(),
            headers={"content-type": "application/json"},
        )
        path, values = received.pop()
        assert path == f"/gradio_api/file={tmp_path}/sent/0123/x.jpg"
        assert values == {"path": f"{tmp_path}/sent/0123/a b/ü.jpg"}


def test_escaped_letters_do_not_lead_to_the_files_of_others(names: FolderNames, tmp_path: Path) -> None:
    received = []

    async def answer(request: Request) -> Any:
        received.append(await request.body())
        return JSONResponse({})

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])
    client = TestClient(PathRedaction(app, folder_names=names))
    for content in (
        json.dumps({"path": f"{tmp_path}/sent/0123/a.jpg"}).replace("sent", "sen\\u0074"),
        "[" * 100_000 + "]" * 100_000,
    ):
        client.post("/gradio_api/queue/join", content=content, headers={"content-type": "application/json"})
    assert received == [b'{"path": "/ftlab/files"}', b"null"]


def test_a_persons_name_is_no_path(names: FolderNames) -> None:
    received = []

    async def answer(request: Request) -> Any:
        received.append(await request.json())
        return JSONResponse({})

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])
    client = TestClient(PathRedaction(app, folder_names=names))
    client.post("/ftlab/join", json={"name": "/ftlab/images"})
    client.post("/ftlab/teacher/hand", json={"folder": "/ftlab/images", "title": "/ftlab/images"})
    assert received[0] == {"name": "/ftlab/images"}
    assert received[1]["folder"] != "/ftlab/images", "a teacher types folders"
    assert received[1]["title"] == "/ftlab/images", "and titles"


def test_a_folder_with_letters_that_json_escapes_is_hidden_in_both_spellings(tmp_path: Path) -> None:
    images = tmp_path / "Bilder für José"
    images.mkdir()
    profile = create_profile(host="0.0.0.0", data_root=images, runs_dir=tmp_path / "runs")
    names = FolderNames(list_named_folders(profile, tmp_path / "sent"))
    for text in (f"{images}/a.png", json.dumps(f"{images}/a.png"), json.dumps(f"{images}/a.png", ensure_ascii=False)):
        assert names.hide(text.encode()).decode().strip('"') == "/ftlab/images/a.png"
