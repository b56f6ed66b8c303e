"""Requests that are answered, and those refused before Gradio sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ftlab.server.middleware import AccessMiddleware
from ftlab.server.upload_quota import UploadQuota


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
    assert (
        client(upload_quota=UploadQuota(max_upload_bytes=100))
        .post("/gradio_api/upload", content=b"x" * 100)
        .status_code
        == 200
    )
    assert (
        client(upload_quota=UploadQuota(max_upload_bytes=100))
        .post("/gradio_api/upload", content=b"x" * 101)
        .status_code
        == 413
    )


def test_an_upload_that_does_not_say_its_length_is_refused() -> None:
    assert client().post("/gradio_api/upload", content=iter([b"x"])).status_code == 411


def test_uploads_stop_when_the_quota_is_used_up(tmp_path: Path) -> None:
    (tmp_path / "earlier").write_bytes(b"x" * 900)
    assert (
        client(upload_quota=UploadQuota(uploads_dir=tmp_path, quota_bytes=1000))
        .post("/gradio_api/upload", content=b"x" * 100)
        .status_code
        == 200
    )
    assert (
        client(upload_quota=UploadQuota(uploads_dir=tmp_path, quota_bytes=1000))
        .post("/gradio_api/upload", content=b"x" * 101)
        .status_code
        == 507
    )
