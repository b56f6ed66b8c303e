"""The endpoints as tools of the Model Context Protocol (MCP), by Gradio's own server for it.

Its module is replaced in three places: answers are JSON instead of the text that Python has for them, tools are called
as the endpoints on a Space too, and a call makes no copy of the page. `tests/ui/api/test_mcp_tools.py` fails where a
new version of Gradio goes around them.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import gradio as gr
import httpx
from fastapi import FastAPI
from gradio import mcp as gradio_mcp

from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.server.people.rights import ProfileKind
from ftlab.server.routes import MCP_PATH
from ftlab.ui.api.endpoints import ENDPOINT_NAMES
from ftlab.ui.common.gradio_guard import LeanSessionState

IMAGE_KEY = "overlay"
"""Value of an answer that a client of MCP gets as an image, not as a hundred kilobytes of text."""
CHECK_TIMEOUT_SECONDS = 20.0
"""Seconds that the server has to list its tools after its start."""
_ACCEPTED_TYPES = "application/json, text/event-stream"


class JsonToolServer(gradio_mcp.GradioMCPServer):
    """Gradio's server of tools with answers in JSON."""

    def get_tool_to_endpoint(self) -> dict[str, str]:
        """Return the endpoints by the names of their tools.

        Returns:
            Both are called alike; Gradio puts the name of a Space before those of tools.
        """
        self.tool_prefix = ""
        return super().get_tool_to_endpoint()

    def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:  # noqa: ARG002 (named by the base class)
        """Return the content of an answer.

        Args:
            data: outputs of an endpoint.
            root_url: address of the server; no answer holds files.

        Returns:
            A text of JSON for each output, and the overlay of an explanation as an image.
        """
        content: list[Any] = []
        for output in data:
            overlay = output.get(IMAGE_KEY) if isinstance(output, dict) else None
            plain_output = {key: value for key, value in output.items() if key != IMAGE_KEY} if overlay else output
            text = json.dumps(plain_output, ensure_ascii=False, allow_nan=False)
            content.append(self.types.TextContent(type="text", text=text))
            if overlay:
                mime_type, _, base64_content = overlay.removeprefix("data:").partition(";base64,")
                content.append(self.types.ImageContent(type="image", data=base64_content, mimeType=mime_type))
        return content


def replace_tool_server() -> None:
    """Replace the names in Gradio's module, before a page with tools is mounted. Repeating it changes nothing."""
    gradio_mcp.GradioMCPServer = JsonToolServer  # type: ignore[misc]
    gradio_mcp.SessionState = LeanSessionState  # type: ignore[attr-defined]


def check_mounted_tools(demo: gr.Blocks) -> None:
    """Check that Gradio has taken the tools in: it goes on without them where that fails.

    Args:
        demo: the mounted page.

    Raises:
        FtlabError: it has not.
    """
    if not demo.mcp_server or demo.mcp_server_obj is None:
        raise FtlabError("page.mcp_off", cause=demo.mcp_error or "–")


def check_served_tools(app: FastAPI, event_loop: asyncio.AbstractEventLoop) -> list[str]:
    """Ask a running server for its tools, by the protocol but without its middleware, which knows no sender here.

    Args:
        app: application of the server.
        event_loop: in which it answers.

    Returns:
        Names of the tools.

    Raises:
        FtlabError: it does not tell them, or others than the endpoints.
    """
    future = asyncio.run_coroutine_threadsafe(_list_tools(app), event_loop)
    try:
        names = future.result(CHECK_TIMEOUT_SECONDS)
    except (TimeoutError, ValueError, KeyError, httpx.HTTPError) as cause:
        raise FtlabError("page.mcp_off", cause=f"{type(cause).__name__}: {cause}") from cause
    if sorted(names) != sorted(ENDPOINT_NAMES):
        raise FtlabError("page.mcp_off", cause=", ".join(names) or "–")
    return names


async def _list_tools(app: FastAPI) -> list[str]:
    """Return the names of the tools that the mounted page tells."""
    transport = httpx.ASGITransport(app=app.router)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.post(
            f"{MCP_PATH}/",
            json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
            headers={"Accept": _ACCEPTED_TYPES},
        )
    data = next(line for line in answer.text.splitlines() if line.startswith("data:")) if answer.is_success else "{}"
    return [tool["name"] for tool in json.loads(data.removeprefix("data:"))["result"]["tools"]]


def describe_tools(kind: ProfileKind, names: list[str], page_url: str) -> list[str]:
    """Return the lines that a server prints of its tools.

    Args:
        kind: the kind of server.
        names: of the tools.
        page_url: address of the page, with a slash at its end.

    Returns:
        Number and address; what a client without a cookie may do; the settings for a client, in JSON.
    """
    # With the slash: without it, each call would be redirected.
    url = f"{page_url.rstrip('/')}{MCP_PATH}/"
    settings = json.dumps({"mcpServers": {"ftlab": {"url": url}}})
    return [
        messages.get_text("server.mcp_ready", count=len(names), names=", ".join(sorted(names)), url=url),
        messages.get_text(f"server.mcp_sender.{kind.value}"),
        messages.get_text("server.mcp_settings"),
        settings,
    ]
