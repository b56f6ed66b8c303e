"""Serve the web page: `python app.py`, `ftlab app`, or `ftlab` without a command.

python app.py                                   for this machine; image folders below the home folder
python app.py --classroom --data-root DIR       for a class, which joins by a code; image folders below DIR
python app.py --host 0.0.0.0                    for others in the network
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.core import interruption, lazy_import, messages, user_dirs
from ftlab.core.errors import FtlabError
from ftlab.data.sources import links
from ftlab.runs import trash
from ftlab.runs.jobs.dispatcher import Dispatcher
from ftlab.runs.jobs.warm_worker import WARM_WORKER_ENV
from ftlab.runs.queue.database import declare_queue_folder
from ftlab.server.class_pages.invitation import write_invitation
from ftlab.server.listening import addresses, tls
from ftlab.server.listening.free_port import find_free_port
from ftlab.server.listening.mcp_package import check_mcp_package
from ftlab.server.listening.start_folders import check_runs_folder, check_upload_folder
from ftlab.server.people.membership import Membership
from ftlab.server.profile import LOOPBACK_HOSTS, ServerProfile, create_profile
from ftlab.ui import build_app
from ftlab.ui.common import uploads

if TYPE_CHECKING:
    from ftlab.ui.page_server import PageServer

DEFAULT_PORT = 7860
"""Gradio's default port."""
REMOVAL_INTERVAL_SECONDS = 3600.0
"""Seconds between two removals of what has expired."""
TRASH_DAYS, SPACE_TRASH_DAYS = 30, 1
"""Days for which a deleted run can be restored, on a server for others and on a public Space."""


def serve(argv: Sequence[str] | None = None, program: str = "python app.py") -> int:
    """Serve the page until it is interrupted.

    Args:
        argv: command-line flags; None for those of this process.
        program: the command before the flags, for the usage that is printed.

    Returns:
        Exit status: 0, or 2 for a user error, which was printed in one line on standard error.
    """
    flags = _parse_flags(argv, program)
    try:
        server_profile = parse_profile(argv)
        port = find_free_port(flags.host, flags.port)
        check_mcp_package(is_needed=server_profile.has_mcp)
        notices = [check_upload_folder(), check_runs_folder(server_profile.runs_dir)]
        tls_files = _find_tls_files(flags)
        membership = _open_membership(server_profile)
    except FtlabError as error:
        print(error, file=sys.stderr)
        return 2
    if port != flags.port:
        _print_message("server.port_taken", wanted=flags.port, port=port)
    for text in filter(None, [*notices, notice := build_gpu_notice()]):
        print(text, flush=True)
    if server_profile.is_space and server_profile.runs_dir.is_relative_to(user_dirs.get_space_storage()):
        key = "server.space_storage" if user_dirs.is_storage_persistent() else "server.no_space_storage"
        _print_message(key, folder=user_dirs.get_space_storage())
    elif server_profile.data_root is None and not server_profile.is_space:
        _print_message("server.no_data_root")
    if not server_profile.is_local:
        links.refuse_outside_links()
    # At the start, as nobody may upload again: otherwise only the next upload would remove them.
    _remove_expired(server_profile)
    _start_dispatcher(server_profile, flags.queue_dir, keeps_spare=flags.warm_worker)
    # Here, not above: gradio takes seconds to load, and mistakes in the flags are told before.
    lazy_import.import_module("ftlab.ui.page_server")
    from ftlab.ui.page_server import PageServer

    try:
        server = PageServer(
            server_profile,
            build_app(server_profile, notice),
            host=flags.host,
            port=port,
            membership=membership,
            tls_files=tls_files,
            trusted_proxies=flags.trusted_proxy,
        )
        tool_lines = server.describe_tools()
    except FtlabError as error:
        print(error, file=sys.stderr)
        return 2
    _print_message("server.ready", url=server.url, runs=server_profile.runs_dir)
    urls = addresses.list_urls(flags.host, server.port, is_https=tls_files is not None)
    print(*write_invitation(membership, urls, tls_files), *tool_lines, sep="\n", flush=True)
    if flags.browser and not server_profile.is_space:
        webbrowser.open(server.url)
    _wait_for_end(server, server_profile)
    return 0


def _wait_for_end(server: PageServer, server_profile: ServerProfile) -> None:
    """Let the server answer until Ctrl+C or SIGTERM, and remove what has expired from time to time."""
    if threading.current_thread() is threading.main_thread():
        # The first process of a container gets no signal that it does not handle: `docker stop` would wait and kill it.
        signal.signal(signal.SIGTERM, _interrupt_once)
    # Ctrl+C is the way to end the server: no error, and an open connection must not hold it up.
    with interruption.handle_interrupts(interruption.CommandInterrupt(exit_status=0, announces=False)):
        try:
            next_removal_time = time.monotonic() + REMOVAL_INTERVAL_SECONDS
            while server.is_running:
                time.sleep(0.2)
                if time.monotonic() > next_removal_time:
                    _remove_expired(server_profile)
                    next_removal_time = time.monotonic() + REMOVAL_INTERVAL_SECONDS
        except KeyboardInterrupt:
            _print_message("server.ended")
            server.close()
            if interruption.is_watched():  # a program of its own: Gradio's threads would take seconds to end
                interruption.end_process(0)


def _interrupt_once(*_: object) -> None:
    """Do as Ctrl+C does; a second SIGTERM does not disturb the end.

    Raises:
        KeyboardInterrupt: always.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _start_dispatcher(server_profile: ServerProfile, queue_dir: str | None, *, keeps_spare: bool) -> None:
    """Look after the queue of trainings from now on: those that waited when the server ended before start first.

    Args:
        server_profile: has the runs folder.
        queue_dir: folder for the database of the queue; None: beside the runs.
        keeps_spare: keep a spare process that has imported PyTorch, see `ftlab.runs.jobs.warm_worker`.
    """
    if not keeps_spare:
        os.environ[WARM_WORKER_ENV] = "0"
    declare_queue_folder(queue_dir)
    Dispatcher(server_profile.runs_dir).start()


def _remove_expired(server_profile: ServerProfile) -> None:
    """Remove uploads that nobody has used for long, and on a server for others runs that were deleted long ago."""
    uploads.remove_expired_uploads(server_profile)
    if not server_profile.is_local:
        age_days = SPACE_TRASH_DAYS if server_profile.is_space else TRASH_DAYS
        trash.remove_expired_runs(server_profile.runs_dir, age_days * 86_400.0)


def parse_profile(argv: Sequence[str] | None = None) -> ServerProfile:
    """Return the server profile that the flags describe.

    Propagates `DataError` where `--data-root` is not a folder.

    Args:
        argv: command-line flags; None for those of this process.

    Returns:
        The profile.
    """
    flags = _parse_flags(argv)
    return create_profile(
        host=flags.host,
        data_root=flags.data_root,
        runs_dir=flags.runs,
        hosts=tuple(flags.public_name),
        is_classroom=flags.classroom,
        has_mcp=flags.mcp,
    )


def _parse_flags(argv: Sequence[str] | None, program: str = "python app.py") -> argparse.Namespace:
    """Return the flags; a class is reached by its network, unless another address is named."""
    flags = _build_parser(program).parse_args(argv)
    if flags.host is None:
        flags.host = os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if flags.classroom else LOOPBACK_HOSTS[0])
    return flags


def _find_tls_files(flags: argparse.Namespace) -> tls.TlsFiles | None:
    """Return the files for HTTPS that the flags name; None for HTTP.

    Raises:
        FtlabError: the flag has another number of values, or the files cannot be used.
    """
    if not flags.tls:
        return None
    if flags.tls == [tls.AUTO]:
        hosts = [flags.host] if flags.host not in addresses.ANY_ADDRESSES else addresses.list_network_addresses()
        known_hosts = dict.fromkeys([*hosts, *flags.public_name, *LOOPBACK_HOSTS])
        return tls.create_self_signed(user_dirs.get_ftlab_home() / "tls", list(known_hosts))
    if len(flags.tls) != 2:
        raise FtlabError("page.tls_values")
    return tls.check_tls_files(*(user_dirs.expand_home(path) for path in flags.tls))


def _open_membership(server_profile: ServerProfile) -> Membership:
    """Return who is who on the server.

    Raises:
        FtlabError: the file beside the runs cannot be written.
    """
    try:
        return Membership(server_profile.kind, server_profile.runs_dir)
    except OSError as cause:
        raise FtlabError("page.people_folder", folder=server_profile.runs_dir, cause=cause.strerror or cause) from cause


def is_first_start() -> bool:
    """Return whether the program starts, rather than being re-imported by gradio after a file changed."""
    from gradio import NO_RELOAD

    return bool(NO_RELOAD)


def build_gpu_notice() -> str:
    """Return advice where there is an NVIDIA GPU that the installed torch cannot use; empty otherwise.

    Does not import torch, so the page starts at once.
    """
    if torch_has_cuda() is not False:
        return ""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        # A damaged driver lets nvidia-smi hang; the page must start all the same.
        gpu_list = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r"GPU \d+: (.+?)(?: \(UUID|$)", gpu_list, re.MULTILINE)
    return messages.get_text("server.card", card=match.group(1)) if match else ""


def torch_has_cuda() -> bool | None:
    """Return whether the installed torch was built for CUDA, as its `version.py` says; None if unknown."""
    # Read as text: importing torch takes seconds, and only the training processes need it.
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        version_text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    # A line such as `cuda: Optional[str] = '12.8'`; None in a build for CPU only.
    match = re.search(r"^cuda\b[^=]*=\s*(.+)$", version_text, re.MULTILINE)
    return match.group(1).strip() != "None" if match else None


def _build_parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of the command-line flags."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=messages.get_text("server.about"),
        formatter_class=argparse.RawTextHelpFormatter,
    )
    # Hugging Face Spaces and gradio's container images set these variables.
    port = os.environ.get("GRADIO_SERVER_PORT") or DEFAULT_PORT
    parser.add_argument("--classroom", action="store_true", help=messages.get_text("server.flag.classroom"))
    parser.add_argument("--host", help=messages.get_text("server.flag.host"))
    parser.add_argument("--port", type=int, default=port, help=messages.get_text("server.flag.port"))
    parser.add_argument("--data-root", metavar="DIR", help=messages.get_text("server.flag.data_root"))
    parser.add_argument(
        "--runs",
        metavar="DIR",
        default=str(user_dirs.get_default_runs_dir()),
        help=messages.get_text("server.flag.runs"),
    )
    parser.add_argument(
        "--mcp",
        action="store_true",
        # Gradio's own variable, for Spaces, which take no flags.
        default=os.environ.get("GRADIO_MCP_SERVER", "").lower() == "true",
        help=messages.get_text("server.flag.mcp"),
    )
    parser.add_argument("--tls", nargs="+", metavar="FILE", help=messages.get_text("server.flag.tls"))
    parser.add_argument(
        "--no-warm-worker",
        dest="warm_worker",
        action="store_false",
        help=messages.get_text("server.flag.no_warm_worker"),
    )
    parser.add_argument("--queue-dir", metavar="DIR", help=messages.get_text("cli.queue_dir"))
    parser.add_argument(
        "--public-name", metavar="NAME", action="append", default=[], help=messages.get_text("server.flag.public_name")
    )
    parser.add_argument(
        "--trusted-proxy",
        metavar="ADDRESS",
        action="append",
        default=[],
        help=messages.get_text("server.flag.trusted_proxy"),
    )
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help=messages.get_text("server.flag.no_browser")
    )
    return parser


def _print_message(key: str, **values: object) -> None:
    print(messages.get_text(key, **values), flush=True)
