#!/usr/bin/env bash
# One would guess: options that are given to `gr.mount_gradio_app` stay as they are, so that two pages can be mounted with
# the same ones.
#
# True: it writes the lifespan of the page into the dict `app_kwargs`. A second page that is mounted with this dict begins
# and ends the first page too; where the first one has tools for MCP, the second one, which has none, cannot start at all:
# "StreamableHTTPSessionManager .run() can only be called once per instance".
#
# Seen with Gradio 6.31.0, mcp 1.30.0, Python 3.11:
#   app_kwargs after the first mount: ['default_response_class', 'docs_url', 'lifespan']
#   the second page: RuntimeError: StreamableHTTPSessionManager .run() can only be called once per instance. …
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "gradio[mcp]==6.31.0" mcp==1.30.0 httpx
GRADIO_ANALYTICS_ENABLED=False GRADIO_TEMP_DIR="$folder/files" "$folder/venv/bin/python" - <<'PYTHON'
import platform
from importlib.metadata import version

import gradio as gr
from fastapi import FastAPI
from starlette.testclient import TestClient

print("Gradio", gr.__version__, "mcp", version("mcp"), "Python", platform.python_version())


def build_page() -> gr.Blocks:
    with gr.Blocks() as page:
        gr.Textbox()
    return page


options = {"app_kwargs": {"docs_url": None}}
first = gr.mount_gradio_app(FastAPI(), build_page(), path="/", mcp_server=True, **options)
print("app_kwargs after the first mount:", sorted(options["app_kwargs"]))
with TestClient(first) as client:
    assert client.get("/config").status_code == 200
second = gr.mount_gradio_app(FastAPI(), build_page(), path="/", mcp_server=False, **options)
try:
    with TestClient(second) as client:
        client.get("/config")
except BaseException as error:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    print(f"the second page: {type(error).__name__}: {error}")
    assert "can only be called once" in str(error), "it fails otherwise now"
else:
    raise AssertionError("the second page starts now")
assert "lifespan" in options["app_kwargs"], "the options stay as they are now"
PYTHON
