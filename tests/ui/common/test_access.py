"""What the guard lets through: places to look, hosts, origins, uploads."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ftlab.core.errors import DataError
from ftlab.ui.common.access import (
    SPACE_TIME_LIMIT_MINUTES,
    AccessMiddleware,
    create_profile,
    resolve_inside,
    sweep_uploads,
)


def refused(root: Path | None, path: str | Path) -> str:
    with pytest.raises(DataError) as caught:
        resolve_inside(root, path)
    return caught.value.code


# --- profiles


def test_a_start_for_this_machine_looks_below_the_home_folder() -> None:
    assert create_profile(environment={}).data_root == Path.home().resolve()
    assert create_profile(environment={}).max_minutes == 0


def test_a_start_for_others_looks_nowhere_unless_a_folder_is_named(tmp_path: Path) -> None:
    assert create_profile(host="0.0.0.0", environment={}).data_root is None
    assert create_profile(host="0.0.0.0", data_root=tmp_path, environment={}).data_root == tmp_path.resolve()


def test_a_data_root_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        create_profile(data_root=tmp_path / "nowhere", environment={})


def test_a_space_has_no_folder_to_look_below_and_a_time_limit(tmp_path: Path) -> None:
    space = create_profile(data_root=tmp_path, environment={"SPACE_ID": "someone/ftlab"})
    assert space.data_root is None
    assert space.is_space
    assert space.max_minutes == SPACE_TIME_LIMIT_MINUTES


# --- paths


def test_a_path_below_the_root_is_found_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pets").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    real = (tmp_path / "pets").resolve()
    for written in ("pets", "pets/", " pets ", "./pets/../pets", str(tmp_path / "pets"), "~/pets"):
        assert resolve_inside(tmp_path, written) == real
    assert resolve_inside(tmp_path, "") == tmp_path.resolve()


def test_a_path_outside_the_root_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "rootling").mkdir()
    for written in ("..", "../rootling", "/etc", str(tmp_path), str(tmp_path / "rootling"), "a/../../b"):
        assert refused(root, written) == "page.outside"


def test_a_link_that_leads_out_is_refused_and_one_that_stays_is_followed(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    (root / "pets").mkdir(parents=True)
    other.mkdir()
    (root / "out").symlink_to(other)
    (root / "in").symlink_to(root / "pets")
    assert refused(root, "out") == "page.outside"
    assert refused(root, "out/deeper") == "page.outside"
    assert resolve_inside(root, "in") == (root / "pets").resolve()


def test_the_answer_does_not_tell_whether_something_outside_exists(tmp_path: Path) -> None:
    assert refused(tmp_path, "/etc") == refused(tmp_path, "/no-such-folder-anywhere") == "page.outside"


def test_what_is_no_path_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "a\0b") == "page.no_path"
    assert refused(tmp_path, "~nobody-of-that-name/x") == "page.no_path"


def test_without_a_root_every_path_is_refused() -> None:
    assert refused(None, "anything") == "page.no_folders"


# --- requests


def client(**rules: object) -> TestClient:
    async def answer(request: Request) -> PlainTextResponse:
        await request.body()
        return PlainTextResponse("ok")

    paths = ("/", "/run/predict", "/gradio_api/upload", "/gradio_api/file={rest:path}")
    inner = Starlette(routes=[Route(path, answer, methods=["GET", "POST"]) for path in paths])
    return TestClient(AccessMiddleware(inner, **rules), base_url="http://127.0.0.1:7860")  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "192.168.1.7", "LOCALHOST"])
def test_addresses_and_localhost_are_answered(host: str) -> None:
    assert client().get("/", headers={"host": host}).text == "ok"


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:7860", "x@localhost"]
)
def test_a_foreign_host_name_is_refused(host: str) -> None:
    assert client().get("/", headers={"host": host}).status_code == 400


def test_a_named_host_is_answered_and_a_space_answers_any() -> None:
    assert client(hosts=("lab.example",)).get("/", headers={"host": "lab.example"}).status_code == 200
    assert client(hosts=("*",)).get("/", headers={"host": "someone-ftlab.hf.space"}).status_code == 200


def test_a_page_of_another_site_may_not_post() -> None:
    for origin in ("https://evil.example", "http://127.0.0.1:8000", "http://localhost:7860", "null"):
        assert client().post("/run/predict", headers={"origin": origin}).status_code == 403
    assert client().post("/run/predict", headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_the_own_page_and_programs_may_post() -> None:
    assert client().post("/run/predict", headers={"origin": "http://127.0.0.1:7860"}).status_code == 200
    assert client().post("/run/predict").status_code == 200


def test_a_page_behind_a_named_host_may_post_whatever_the_proxy_calls_this_server() -> None:
    headers = {"origin": "https://lab.example", "host": "127.0.0.1:7860"}
    assert client(hosts=("lab.example",)).post("/run/predict", headers=headers).status_code == 200


def test_another_site_cannot_vouch_for_itself_as_a_proxy() -> None:
    headers = {"origin": "https://evil.example", "x-forwarded-host": "evil.example"}
    assert client().post("/run/predict", headers=headers).status_code == 403


def test_the_server_fetches_nothing_for_a_visitor() -> None:
    assert client().get("/gradio_api/file=https://evil.example/x.png").status_code == 403
    assert client().get("/gradio_api/file=/tmp/x.png").status_code == 200


def test_answers_are_not_guessed_at_nor_framed_by_other_sites() -> None:
    headers = client().get("/").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "frame-ancestors 'self'"
    assert "content-security-policy" not in client(allow_framing=True).get("/").headers


# --- uploads


def test_an_upload_beyond_the_limit_is_refused() -> None:
    assert client(max_upload_bytes=100).post("/gradio_api/upload", content=b"x" * 100).status_code == 200
    assert client(max_upload_bytes=100).post("/gradio_api/upload", content=b"x" * 101).status_code == 413


def test_an_upload_that_does_not_say_its_length_is_refused() -> None:
    assert client().post("/gradio_api/upload", content=iter([b"x"])).status_code == 411


def test_uploads_stop_when_the_quota_is_used_up(tmp_path: Path) -> None:
    (tmp_path / "earlier").write_bytes(b"x" * 900)
    assert (
        client(uploads_dir=tmp_path, quota_bytes=1000).post("/gradio_api/upload", content=b"x" * 100).status_code == 200
    )
    assert (
        client(uploads_dir=tmp_path, quota_bytes=1000).post("/gradio_api/upload", content=b"x" * 101).status_code == 507
    )


def test_empty_files_that_gradio_leaves_behind_are_swept_and_others_counted(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    left, new, kept = tmp_path / "tmpold", tmp_path / "tmpnew", tmp_path / "ab" / "picture.jpg"
    left.touch()
    new.touch()
    kept.write_bytes(b"x" * 321)
    os.utime(left, (time.time() - 3600,) * 2)
    assert sweep_uploads(tmp_path) == 321
    assert [left.exists(), new.exists(), kept.exists()] == [False, True, True]
