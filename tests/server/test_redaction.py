"""Names in place of folders in everything that leaves a server for others."""

from __future__ import annotations

import hashlib
import json
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
    return FolderNames(list_named_folders(profile, tmp_path / "sent"))


def test_folders_get_names_and_names_folders(names: FolderNames, tmp_path: Path) -> None:
    text = f"{tmp_path}/sent/a.jpg {tmp_path}/runs/x, {tmp_path}/images and {Path.home()}/y.".encode()
    hidden = names.hide(text)
    own_files = f"{FILES_NAME}-{hashlib.sha256(b'').hexdigest()[:16]}".encode()
    assert hidden == own_files + b"/a.jpg /ftlab/runs/x, /ftlab/images and /ftlab/user/y."
    assert names.restore(hidden) == text
    assert names.restore(b"/ftlab/runs-of-mine x/ftlab/runs") == b"/ftlab/runs-of-mine x/ftlab/runs"


def test_a_visitors_files_have_a_name_that_is_of_no_use_to_another(names: FolderNames, tmp_path: Path) -> None:
    path = f"{tmp_path}/sent/0123/a.jpg".encode()
    anns, bens = names.hide(path, "ann"), names.hide(path, "ben")
    assert anns != bens
    assert names.restore(anns, "ann") == path
    for stolen in (anns, path, b"/ftlab/files/0123/a.jpg", b"/ftlab/temporary/x/../" + path):
        assert path not in names.restore(stolen, "ben")
    above = names.hide(str(tmp_path).encode(), "ben")
    assert b"/sent/" not in names.restore(above + b"/sent/0123/a.jpg", "ben"), "by the name of a folder above it"


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
    own_files = names.hide(f"{tmp_path}/sent".encode()).decode()
    body = json.dumps({"path": f"{own_files}/a b/ü.jpg"})
    TestClient(PathRedaction(app, folder_names=names)).post(
        f"/file={own_files}/x.jpg", content=body, headers={"content-type": "application/json"}
    )
    ((path, values),) = received
    assert path == f"/file={tmp_path}/sent/x.jpg"
    assert values == {"path": f"{tmp_path}/sent/a b/ü.jpg"}
