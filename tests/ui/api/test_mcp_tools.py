"""The endpoints as tools for an unmodified client of the Model Context Protocol."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio import mcp as gradio_mcp
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import CallToolResult, Tool
from PIL import Image

from ftlab.core.errors import FtlabError
from ftlab.runs.directory import Run
from ftlab.server.people.rights import ProfileKind
from ftlab.ui.api import mcp_tools
from ftlab.ui.api.endpoints import ENDPOINT_NAMES
from tests.support import drawn_images
from tests.support.endpoint_server import (
    TITLE,
    EndpointServer,
    make_data_url,
    serve_endpoints,
)

IMAGE = make_data_url()
pytestmark = pytest.mark.filterwarnings("ignore:Use `streamable_http_client` instead:DeprecationWarning")


def converse(server: EndpointServer, talk: Callable[[ClientSession], Awaitable[Any]], person: str = "") -> Any:
    """What a client hears in a session with the server."""

    async def connect() -> Any:
        headers = {"Cookie": server.cookies[person]} if person else {}
        async with (
            streamablehttp_client(f"{server.url}gradio_api/mcp/", headers=headers) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await talk(session)

    return asyncio.run(connect())


def list_tools(server: EndpointServer, person: str = "") -> dict[str, Tool]:
    return {tool.name: tool for tool in converse(server, ClientSession.list_tools, person).tools}


def call(server: EndpointServer, name: str, person: str = "", **arguments: Any) -> CallToolResult:
    result = converse(server, lambda session: session.call_tool(name, arguments), person)
    assert isinstance(result, CallToolResult)
    return result


def read_answer(result: CallToolResult) -> Any:
    assert not result.isError, result
    assert result.content[0].type == "text"
    return json.loads(result.content[0].text)


def test_the_seven_endpoints_and_no_event_of_the_page_are_tools(local: EndpointServer) -> None:
    tools = list_tools(local)
    assert sorted(tools) == sorted(ENDPOINT_NAMES)
    for name, tool in tools.items():
        assert tool.description, name
        schemas = tool.inputSchema["properties"].values()
        assert all("description" in schema and len(schema) > 1 for schema in schemas), name
    assert tools["predict"].inputSchema["required"] == ["image"]
    assert tools["predict"].inputSchema["properties"]["top_k"]["type"] == "integer"


def test_each_tool_is_called(local: EndpointServer, trained: Run) -> None:
    scanned = read_answer(call(local, "scan", data=str(local.pictures)))
    assert scanned["splits"]["train"] > 0
    started = read_answer(call(local, "start", settings={"data": scanned["data"], "mode": "scratch", "epochs": 1}))
    assert read_answer(call(local, "status", run=started["run"]))["state"] == "queued"
    assert read_answer(call(local, "stop", run=started["run"]))["status"] == "stopped"
    assert trained.name in [row["run"] for row in read_answer(call(local, "runs"))]
    predicted = read_answer(call(local, "predict", image=IMAGE, run=trained.name, top_k=2))
    assert predicted["classes"] == local.call("host", "predict", IMAGE, trained.name, 2)[1]["classes"]
    path = local.upload("host", "one.png", drawn_images.png())
    assert len(read_answer(call(local, "predict", image=path))["classes"]) == 5


def test_the_overlay_is_an_image_and_the_rest_of_an_explanation_is_json(local: EndpointServer, trained: Run) -> None:
    for name in ("amber", "blue", "green"):
        result = call(local, "explain", image=IMAGE, run=trained.name, class_name=name)
        answer = read_answer(result)
        by_http = local.call("host", "explain", IMAGE, trained.name, name)[1]
        overlay = by_http.pop("overlay")
        assert answer == (by_http if overlay else {**by_http, "overlay": None})
        assert len(result.content) == 1 + bool(overlay)
        if overlay:
            content = result.content[1]
            assert content.type == "image"
            assert f"data:{content.mimeType};base64,{content.data}" == overlay
            with Image.open(io.BytesIO(base64.b64decode(content.data))) as image:
                assert image.format == "JPEG"


@pytest.mark.parametrize(
    ("name", "arguments", "refusal"),
    [
        ("status", {"run": "20260101-000000-a-full-0000"}, "run.missing: "),
        ("predict", {"image": "https://x.example/a.png"}, "call.address: This server downloads nothing"),
        ("predict", {"image": "http://127.0.0.1:1/a.png"}, "call.address: "),
        ("predict", {"image": IMAGE.partition(",")[2]}, "call.image_local: "),
        ("predict", {"image": "/etc/passwd"}, "call.image_local: "),
        ("predict", {"image": IMAGE, "top_k": 0}, "config.bounds: "),
        ("predict", {"image": IMAGE, "top_k": "five"}, "Input validation error: "),
        ("predict", {}, "Input validation error: "),
        ("predict", {"image": IMAGE, "model": "x"}, "Parameter `model` is not"),
        ("start", {"settings": {"data": "shapes", "epoch": 3}}, "call.setting: There is no setting"),
        ("show_prediction", {}, "Unknown tool"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    local: EndpointServer,
    name: str,
    arguments: dict[str, Any],
    refusal: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    result = call(local, name, **arguments)
    assert result.isError
    (content,) = result.content
    assert content.type == "text"
    assert refusal in content.text
    assert "\n" not in content.text
    assert "Traceback" not in caplog.text + capfd.readouterr().err


def test_an_image_beyond_the_bound_of_requests_is_refused(local: EndpointServer) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "predict"}}
    body["params"]["arguments"] = {"image": "data:image/png;base64," + "A" * 2_000_000}  # type: ignore[index]
    answer = httpx.post(
        f"{local.url}gradio_api/mcp/", json=body, headers={"Accept": "application/json, text/event-stream"}
    )
    assert (answer.status_code, answer.json()["detail"]) == (413, "The request is too large.")


def test_the_page_of_another_site_cannot_call_a_tool(local: EndpointServer) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"Accept": "application/json, text/event-stream", "Origin": "https://evil.example"}
    assert httpx.post(f"{local.url}gradio_api/mcp/", json=body, headers=headers).status_code == 403
    for content in (b"{", b"[1]", b'{"jsonrpc": "2.0"}', b'{"a": NaN}', b"null"):
        answer = httpx.post(
            f"{local.url}gradio_api/mcp/",
            content=content,
            headers={"Accept": headers["Accept"], "Content-Type": "application/json"},
        )
        assert answer.status_code == 400, content


def test_a_call_makes_no_copy_of_the_page(local: EndpointServer, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    session_state = vars(gradio_mcp)["SessionState"]

    def watch(blocks: gr.Blocks) -> Any:
        made.append(session_state(blocks))
        return made[-1]

    monkeypatch.setattr(gradio_mcp, "SessionState", watch)
    read_answer(call(local, "runs"))
    assert [len(state.config_values) for state in made] == [0]


@pytest.mark.parametrize("kind", [ProfileKind.NETWORK, ProfileKind.SPACE], ids=["network", "space"])
def test_without_a_cookie_a_client_is_a_stranger_and_with_one_it_is_that_person(
    trained: Run, tmp_path: Path, kind: ProfileKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind is ProfileKind.SPACE:
        monkeypatch.setenv("SPACE_ID", "someone/ftlab")
    with serve_endpoints(tmp_path, trained, kind, has_mcp=True) as server:
        name, settings = server.trained.name, {"data": "shapes", "mode": "scratch"}
        assert sorted(list_tools(server)) == sorted(ENDPOINT_NAMES)
        assert read_answer(call(server, "runs")) == []
        assert len(read_answer(call(server, "predict", image=IMAGE))["classes"]) == 5
        for tool, arguments in (
            ("status", {"run": name}),
            ("stop", {"run": name}),
            ("predict", {"image": IMAGE, "run": name}),
        ):
            for person in ("", "ben"):
                refused = call(server, tool, person, **arguments)
                assert refused.isError
                assert TITLE not in str(refused)
        assert call(server, "start", settings=settings).content[0].text.startswith("run.may_not_start")  # type: ignore[union-attr]
        for person in ("ann", "teacher"):
            assert read_answer(call(server, "status", person, run=name))["title"] == TITLE
        own = read_answer(call(server, "start", "ben", settings=settings))["run"]
        assert [row["run"] for row in read_answer(call(server, "runs", "ben"))] == [own]
        upload = server.upload("ann", "anns.png", drawn_images.png())
        assert len(read_answer(call(server, "predict", "ann", image=upload))["classes"]) == 5
        assert call(server, "predict", "ben", image=upload).isError, "an upload of another visitor"


def test_in_a_class_only_those_who_have_joined_are_heard(trained: Run, tmp_path: Path) -> None:
    with serve_endpoints(tmp_path, trained, ProfileKind.CLASSROOM, has_mcp=True) as server:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        answer = httpx.post(f"{server.url}gradio_api/mcp/", json=body)
        assert (answer.status_code, answer.json()["detail"][:20]) == (401, "Join the class first")
        assert read_answer(call(server, "status", "ann", run=server.trained.name))["title"] == TITLE
        assert call(server, "status", "ben", run=server.trained.name).isError
        assert mcp_tools.check_served_tools(server.server.app, server.server.event_loop)


def test_a_server_without_the_flag_has_no_tools(trained: Run, tmp_path: Path) -> None:
    with serve_endpoints(tmp_path, trained, ProfileKind.LOCAL) as server:
        assert httpx.post(f"{server.url}gradio_api/mcp/", json={}).status_code == 404
        with pytest.raises(FtlabError, match="does not serve the tools"):
            mcp_tools.check_served_tools(server.server.app, server.server.event_loop)


def test_what_is_served_is_looked_at_and_said(local: EndpointServer) -> None:
    names = mcp_tools.check_served_tools(local.server.app, local.server.event_loop)
    lines = mcp_tools.describe_tools(ProfileKind.LOCAL, names, local.url)
    assert re.search(r"\b7 tools \(explain, predict, runs, scan, start, status, stop\)", lines[0])
    assert json.loads(lines[-1]) == {"mcpServers": {"ftlab": {"url": f"{local.url}gradio_api/mcp/"}}}
    assert all("\n" not in line for line in lines)
    assert local.server.describe_tools() == lines
    for kind in ProfileKind:
        assert mcp_tools.describe_tools(kind, names, local.url)[1]


def test_a_page_into_which_gradio_took_no_tools_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    page = gr.Blocks()
    monkeypatch.setattr(page, "mcp_error", "Error launching MCP server: no types")
    with pytest.raises(FtlabError, match="no types"):
        mcp_tools.check_mounted_tools(page)
