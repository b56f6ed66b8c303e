"""The mounted page: what it answers, which settings it has, how it starts and ends."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from fastapi.testclient import TestClient
from uvicorn.protocols.http.h11_impl import H11Protocol

from ftlab.core.errors import FtlabError
from ftlab.server.listening import tls
from ftlab.server.people.rights import ProfileKind
from ftlab.server.profile import ServerProfile, create_profile
from ftlab.server.upload_quota import MAX_UPLOAD_BYTES
from ftlab.ui import build_app, page_server
from ftlab.ui.page_server import MOUNT_OPTIONS, PageServer, mount_page
from tests.support.openid_provider import serve_provider


def open_client(place: Path, page: gr.Blocks | None = None) -> TestClient:
    profile = ServerProfile(None, place / "runs")
    return TestClient(mount_page(profile, page or build_app(profile)), base_url="http://127.0.0.1:7860")


def test_a_space_with_oauth_signs_in_behind_the_page_and_any_other_server_does_not(tmp_path: Path) -> None:
    with serve_provider() as provider:
        profile = create_profile(runs_dir=tmp_path / "runs", environment=provider.environment)
        with TestClient(
            mount_page(profile, build_echo_page()), base_url="https://127.0.0.1", follow_redirects=False
        ) as client:
            client.get("/")
            login_url = client.get("/login/huggingface").headers["location"]
            assert client.get(f"/login/callback?{provider.agree(login_url)}").status_code == 303
            assert client.get("/").status_code == 200
            assert set(client.cookies) == {"ftlab_id"}, "no cookie that says who is signed in"
    with open_client(tmp_path, build_echo_page()) as client:
        assert client.get("/login/huggingface").status_code == 404


def build_echo_page() -> gr.Blocks:
    page = gr.Blocks()
    with page:
        gr.on(None, lambda image: str(image), gr.Image(type="filepath"), gr.Textbox(), api_name="echo")
    page.queue()
    return page


def test_the_server_is_the_same_whatever_is_installed_beside_it(tmp_path: Path) -> None:
    """trackio brings uvloop, httptools and websockets, which uvicorn would use."""
    with PageServer(ServerProfile(None, tmp_path / "runs"), build_echo_page(), host="127.0.0.1", port=0) as server:
        config = server._server.config
        assert isinstance(config.http_protocol_class, type)
        assert issubclass(config.http_protocol_class, H11Protocol)
        assert config.ws_protocol_class is None
        assert config.loop == "asyncio"


def test_the_server_answers_this_machine_and_refuses_a_spoofed_name(tmp_path: Path) -> None:
    with open_client(tmp_path) as client:
        assert client.get("/config").status_code == 200
        assert client.get("/config", headers={"host": "evil.example"}).status_code == 400
        assert client.post("/gradio_api/upload", headers={"origin": "https://evil.example"}).status_code == 403


def test_the_page_is_served_without_what_a_visitor_has_no_business_with(tmp_path: Path) -> None:
    for switch in ("ssr_mode", "run_history", "enable_monitoring", "show_error", "pwa"):
        assert MOUNT_OPTIONS[switch] is False
    assert MOUNT_OPTIONS["max_file_size"] <= MAX_UPLOAD_BYTES
    assert "allowed_paths" not in MOUNT_OPTIONS
    with open_client(tmp_path, gr.Blocks().queue()) as client:
        for path in ("/docs", "/redoc", "/openapi.json", "/monitoring", "/gradio_api/openapi.json"):
            assert client.get(path, follow_redirects=False).status_code == 404, path


def test_the_queue_of_an_idle_page_rests_between_two_looks(tmp_path: Path) -> None:
    page = build_echo_page()
    with open_client(tmp_path, page):
        assert page._queue.sleep_when_free >= 0.02, "a look each millisecond takes a tenth of a core"


def test_a_payload_that_no_handler_was_called_for_is_told_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secret_file = tmp_path / "secret.png"
    secret_file.write_bytes(b"secret")
    values: list[Any] = [{"path": str(secret_file), "meta": {"_type": "gradio.FileData"}}, "a\nb", {"x": 1}, 7]
    with PageServer(ServerProfile(None, tmp_path / "runs"), build_echo_page(), host="127.0.0.1", port=0) as server:
        for value in values:
            assert "error" in call_echo(server.url, value)
    assert len(caplog.records) == len(values)
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert "Traceback" not in capfd.readouterr().err


def test_an_error_of_a_handler_is_told_with_its_traceback(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page = gr.Blocks()
    with page:
        gr.on(None, lambda image: {}[image], gr.Textbox(), gr.Textbox(), api_name="echo")
    page.queue()
    with PageServer(ServerProfile(None, tmp_path / "runs"), page, host="127.0.0.1", port=0) as server:
        assert "error" in call_echo(server.url, "x")
    told = capfd.readouterr().err
    assert "Traceback" in told
    assert "KeyError: 'x'" in told


def test_an_event_that_only_the_page_handles_is_not_found(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page = gr.Blocks()
    with page:
        gr.on(None, None, gr.Textbox(), gr.Textbox(), js="text => text", api_name="scripted")
    page.queue()
    with open_client(tmp_path, page) as client:
        for body in ({"data": ["a"]}, {"data": ["a"], "fn_index": 0}):
            assert client.post("/gradio_api/run/scripted", json=body).status_code == 404
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("chosen", ["run-of-mine", ["run-a", "run-b"], "x" * 2000, 7, {"a": 1}])
def test_a_page_that_the_server_has_forgotten_goes_on_with_the_choices_that_it_was_sent(
    tmp_path: Path, chosen: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    takes_several = isinstance(chosen, list)
    page = gr.Blocks()
    with page:
        menu = gr.Dropdown(["untrained"], multiselect=takes_several)
        gr.on(None, lambda: gr.Dropdown(choices=["run-of-mine"]), None, menu, api_name="offer", queue=False)
        gr.on(None, repr, menu, gr.Textbox(), api_name="echo", queue=False)
    page.queue()
    with open_client(tmp_path, page) as client:
        client.post("/gradio_api/run/offer", json={"data": [], "session_hash": "first"})
        for number in range(page_server.SESSION_CAPACITY + 1):
            client.post("/gradio_api/run/offer", json={"data": [], "session_hash": f"other{number}"})
        answer = client.post("/gradio_api/run/echo", json={"data": [chosen], "session_hash": "first"})
    is_text = takes_several or (isinstance(chosen, str) and len(chosen) < 1000)
    assert (answer.status_code, answer.json().get("data")) == ((200, [repr(chosen)]) if is_text else (500, None))
    assert "Traceback" not in capfd.readouterr().err


def test_an_event_of_a_name_that_the_page_does_not_have_is_not_found(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with open_client(tmp_path, build_echo_page()) as client:
        for path in ("call/unknown", "run/unknown", "call/v2", "call/" + "x" * 5000):
            assert client.post(f"/gradio_api/{path}", json={"data": []}).status_code == 404, path
    assert "Traceback" not in capfd.readouterr().err


def test_a_mounted_page_has_the_limits_of_a_launched_one(tmp_path: Path) -> None:
    page = build_echo_page()
    with open_client(tmp_path, page):
        assert page.state_session_capacity <= 256
        assert page.max_file_size == MAX_UPLOAD_BYTES
        assert page.is_running


def test_a_payload_cannot_name_a_file_that_is_no_upload(tmp_path: Path) -> None:
    secret_file = tmp_path / "secret.png"
    secret_file.write_bytes(b"secret")
    with PageServer(ServerProfile(None, tmp_path / "runs"), build_echo_page(), host="127.0.0.1", port=0) as server:
        value = {"path": str(secret_file), "meta": {"_type": "gradio.FileData"}}
        assert "error" in call_echo(server.url, value)
        uploaded_path = httpx.post(
            f"{server.url}gradio_api/upload", files={"files": ("a.png", secret_file.read_bytes())}
        ).json()[0]
        assert "secret" not in call_echo(server.url, {"path": uploaded_path, "meta": {"_type": "gradio.FileData"}})


def test_an_event_that_the_page_does_not_have_is_not_found(tmp_path: Path) -> None:
    with open_client(tmp_path, build_echo_page()) as client:
        for number in (-1, 99, 10**30):
            body = {"data": [], "fn_index": number, "session_hash": "a"}
            for path in ("queue/join", "run/predict"):
                assert client.post(f"/gradio_api/{path}", json=body).status_code == 404


def call_echo(url: str, value: Any) -> str:
    """The events of one call of the echo page."""
    event_id = httpx.post(f"{url}gradio_api/call/echo", json={"data": [value]}).json()["event_id"]
    return httpx.get(f"{url}gradio_api/call/echo/{event_id}", timeout=20).text


def test_a_closed_server_answers_no_more_and_frees_its_port(tmp_path: Path) -> None:
    server = PageServer(ServerProfile(None, tmp_path / "runs"), build_echo_page(), host="127.0.0.1", port=0)
    assert httpx.get(server.url).status_code == 200
    server.close()
    assert not server.is_running
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def test_a_port_that_was_taken_meanwhile_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(FtlabError, match=str(port)):
            PageServer(ServerProfile(None, tmp_path / "runs"), build_echo_page(), host="127.0.0.1", port=port)


def test_a_server_with_a_certificate_answers_by_https_and_gives_a_cookie_for_it_only(tmp_path: Path) -> None:
    files = tls.create_self_signed(tmp_path / "tls", ["127.0.0.1"])
    profile = ServerProfile(None, tmp_path / "runs", ProfileKind.NETWORK)
    with PageServer(profile, build_echo_page(), host="127.0.0.1", port=0, tls_files=files) as server:
        assert server.url.startswith("https://127.0.0.1:")
        answer = httpx.get(server.url, verify=ssl.create_default_context(cafile=str(files.certificate)))
        assert answer.status_code == 200
        assert "Secure" in answer.headers["set-cookie"]
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url)  # nobody else has signed it
