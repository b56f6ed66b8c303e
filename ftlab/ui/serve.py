"""Serve the page: `python app.py`, `python -m ftlab ui`.

python app.py                                   for this machine; folders of pictures below the home folder
python app.py --host 0.0.0.0 --data-root DIR    for a class room; folders of pictures below DIR
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware

from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.ui import build_app
from ftlab.ui.common import uploads
from ftlab.ui.common.access import LOOPBACK, UPLOAD, Gate, Profile, profile, visitors

PORT = 7860
TRIES = 100
"""Ports that are tried, from the wanted one upwards."""


def serve(argv: Sequence[str] | None = None) -> int:
    """Serve the page until it is interrupted.

    Args:
        argv: the flags; None: those of this process.

    Returns:
        Exit status: 0, or 2 for a mistake that was told in one line on standard error.
    """
    flags = _parser().parse_args(argv)
    try:
        allowed = settings(argv)
        port = free_port(flags.host, flags.port)
    except FtlabError as mistake:
        print(mistake, file=sys.stderr)
        return 2
    if port != flags.port:
        _say("server.port_taken", wanted=flags.port, port=port)
    notice = card_notice()
    if notice:
        print(notice, flush=True)
    if allowed.data_root is None and not allowed.space:
        _say("server.no_data_root")
    uploads.clear(allowed)
    demo = build_app(allowed, notice)
    _, url, _ = demo.launch(
        server_name=flags.host,
        server_port=port,
        inbrowser=flags.browser and not allowed.space,
        prevent_thread_lock=True,
        **launch_options(allowed),
    )
    _say("server.ready", url=url, runs=allowed.runs)
    try:
        while demo.is_running:
            time.sleep(0.2)
    except KeyboardInterrupt:
        _say("server.ended")
        demo.close(verbose=False)
    return 0


def settings(argv: Sequence[str] | None = None) -> Profile:
    """The profile that the flags ask for.

    Raises:
        DataError: `--data-root` names no folder.
    """
    flags = _parser().parse_args(argv)
    return profile(host=flags.host, data_root=flags.data_root, runs=flags.runs, hosts=tuple(flags.public_name))


def first_time() -> bool:
    """Whether the program starts, and is not read again by gradio because a file changed."""
    from gradio import NO_RELOAD

    return bool(NO_RELOAD)


def launch_options(allowed: Profile) -> dict[str, Any]:
    """What `gr.Blocks.launch` is given besides host and port."""
    from gradio.utils import get_upload_folder

    from ftlab.ui.common import theme

    # gradio's own statistics of finished events, with a pandas newer than they were written for
    warnings.filterwarnings("ignore", module=r"gradio\.", category=FutureWarning)
    sent = Path(get_upload_folder())
    gate = Middleware(Gate, hosts=allowed.hosts, uploads=sent, unpacked=visitors(), framed=allowed.space)
    return {
        "theme": theme.theme(),
        "css_paths": theme.style_sheets(),
        "favicon_path": theme.STATIC / "favicon.svg",
        "share": False,
        "ssr_mode": False,
        "quiet": True,
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
        "max_file_size": UPLOAD,
        "show_error": False,
        "pwa": False,
        "mcp_server": False,
        "app_kwargs": {"middleware": [gate], "docs_url": None, "redoc_url": None},
    }


def free_port(host: str, wanted: int) -> int:
    """The wanted port if it is free, else the next one that is.

    Raises:
        FtlabError: none of the next ones is, or the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(wanted, min(wanted + TRIES, 65536)):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if sys.platform != "win32":  # there it would allow two servers on one port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except socket.gaierror as cause:
                raise FtlabError("page.host", host=host) from cause
            except OSError as cause:
                if cause.errno == errno.EADDRNOTAVAIL:
                    raise FtlabError("page.host", host=host) from cause
                continue
            return int(probe.getsockname()[1])
    raise FtlabError("page.no_port", first=wanted, last=wanted + TRIES - 1)


def card_notice() -> str:
    """What to do when there is an NVIDIA card that this torch cannot use; empty when all is well. Imports no torch."""
    if _torch_has_cuda() is not False:
        return ""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    card = re.search(r"GPU \d+: (.+?)(?: \(UUID|$)", listed, re.MULTILINE)
    return messages.text("server.card", card=card.group(1)) if card else ""


def _torch_has_cuda() -> bool | None:
    """Whether the installed torch was built for CUDA, as its own version file says; None if that cannot be told."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    built = re.search(r"^cuda\b[^=]*=\s*(.+)$", text, re.MULTILINE)
    return built.group(1).strip() != "None" if built else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python app.py", description=messages.text("server.about"), formatter_class=argparse.RawTextHelpFormatter
    )
    # A Space, and who runs gradio in a container, say by these variables where to listen.
    host, port = os.environ.get("GRADIO_SERVER_NAME") or LOOPBACK[0], os.environ.get("GRADIO_SERVER_PORT") or PORT
    parser.add_argument("--host", default=host, help=messages.text("server.flag.host"))
    parser.add_argument("--port", type=int, default=int(port), help=messages.text("server.flag.port"))
    parser.add_argument("--data-root", metavar="DIR", help=messages.text("server.flag.data_root"))
    parser.add_argument("--runs", metavar="DIR", default="runs", help=messages.text("server.flag.runs"))
    parser.add_argument(
        "--public-name", metavar="NAME", action="append", default=[], help=messages.text("server.flag.public_name")
    )
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help=messages.text("server.flag.no_browser")
    )
    return parser


def _say(key: str, **values: object) -> None:
    print(messages.text(key, **values), flush=True)
