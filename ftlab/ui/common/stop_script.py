"""The script of the Stop buttons, which ask a route outside Gradio's queue (`ftlab.server.stop_route`)."""

from __future__ import annotations

import json

from ftlab.core import messages
from ftlab.server.routes import STOP_PATH
from ftlab.ui.common.theme import STATIC_DIR


def read_stop_script() -> str:
    """Return the script: it takes what is to be stopped, and returns what the page shows if that fails."""
    script = (STATIC_DIR / "stop.js").read_text(encoding="utf-8")
    unreachable_text = json.dumps(messages.get_text("train.stop_unreachable"))
    return script.replace("STOP_PATH", json.dumps(STOP_PATH)).replace("UNREACHABLE_TEXT", unreachable_text)
