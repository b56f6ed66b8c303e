"""Limits that Gradio has no setting for: it fetches nothing, keeps no file of a broken upload, and little per visit.

Each replaces a name of Gradio's own modules. `tests/ui/common/test_gradio_guard.py` fails where a new version of Gradio
no longer uses that name, or reaches the network by another one.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import httpx
import safehttpx
from fastapi import HTTPException
from gradio import processing_utils, queueing, route_utils, routes, state_holder
from gradio.blocks import Blocks
from gradio.components.api_component import Api
from gradio.route_utils import FnIndexInferError
from gradio.utils import get_upload_folder
from starlette.formparsers import MultiPartException

from ftlab.core import messages
from ftlab.server import slow_headers, upload_spool
from ftlab.server.admission import TICKET_KEY, Ticket
from ftlab.server.paths import get_default_uploads_dir

FREE_TEXT_CLASS = "ftlab-free-text"
"""Class of fields whose text is for people: what looks like a path in it stays as it was typed."""
MAX_LOGGED_CHARS = 200
"""Characters of a refused payload's error in the log."""
QUEUE_PAUSE_SECONDS = 0.02
"""Seconds between two looks for events into Gradio's queue."""
PROGRESS_PAUSE_SECONDS = 0.1
"""Seconds between two looks for progress to tell a page."""
MENU_CHECK_MODULE = "ftlab.ui.sent_choices"
"""Module of ftlab that stands before a check of Gradio: an error that comes through it is still Gradio's."""
_gradio_get_fn = route_utils.get_fn


class FetchRefusedError(Exception):
    """An attempt to fetch an address for a visitor."""


class RefusingTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """HTTP transport that sends nothing."""

    def handle_request(self, request: httpx.Request) -> NoReturn:  # noqa: ARG002 - named by the base class
        """Refuse a request.

        Args:
            request: the request, which is not sent.

        Raises:
            FetchRefusedError: always.
        """
        raise FetchRefusedError(messages.get_text("server.remote"))

    async def handle_async_request(self, request: httpx.Request) -> NoReturn:  # noqa: ARG002 - named by the base class
        """Refuse a request.

        Args:
            request: the request, which is not sent.

        Raises:
            FetchRefusedError: always.
        """
        raise FetchRefusedError(messages.get_text("server.remote"))


class BoundedMultiPartParser(route_utils.GradioMultiPartParser):
    """Parser of uploads: files only, whose temporary files `upload_spool` knows and removes if they are left over."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Share the list of temporary files with the request.

        Args:
            *args: of the base class.
            **options: of the base class.
        """
        super().__init__(*args, **options)
        request_files = upload_spool.get_request_files()
        if request_files is not None:
            self._files_to_close_on_error = request_files

    def on_headers_finished(self) -> None:
        """Begin a part.

        Raises:
            MultiPartException: it is no file, which would stay in memory; or its name leads out of the folder.
        """
        super().on_headers_finished()
        file = self._current_part.file
        if file is None or self._current_part.field_name != "files":
            raise MultiPartException(messages.get_text("server.upload_field"))
        if "\0" in (file.filename or "") or (file.filename or "").replace("\\", "/").rpartition("/")[2] in (".", ".."):
            raise MultiPartException(messages.get_text("server.upload_name"))


class LeanSessionState(state_holder.SessionState):
    """State of one page without a copy of the layout, which only deep links need: the server refuses those."""

    def __init__(self, blocks: Blocks) -> None:
        """Start with the components of the layout.

        Args:
            blocks: the page.
        """
        # The base class copies the properties of all components in `blocks.blocks`.
        super().__init__(cast(Blocks, SimpleNamespace(default_config=blocks.default_config, blocks=())))

    def __setitem__(self, key: int, value: Any) -> None:
        """Replace a component.

        Args:
            key: ID of the component.
            value: the component, or the value of a `gr.State`.
        """
        super().__setitem__(key, value)
        self.config_values.clear()

    def _update_config(self, key: int) -> None:
        """Keep no copy of a component's properties."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """Keep no copy of a component's value."""


class EventTable(dict[int, Any]):
    """Events of a page by their number; one that does not exist is told in the answer, not by an error in the log."""

    def __missing__(self, event_number: int) -> NoReturn:
        """Refuse a request that names an event which the page does not have.

        Args:
            event_number: as a program sent it.

        Raises:
            HTTPException: always, with status 404.
        """
        raise HTTPException(404, messages.get_text("server.route"))


class RefusalLog:
    """In place of `traceback` in Gradio's modules: a payload that no handler was called for is logged in one line."""

    format_exc = staticmethod(traceback.format_exc)

    def print_exc(self) -> None:
        """Write the error that is being handled: one of a program that sent nonsense in short, any other as a whole."""
        error = sys.exc_info()[1]
        if error is None or not is_payload_error(error):
            traceback.print_exc()
            return
        text = messages.escape_control_chars(str(error).strip().partition("\n")[0])[:MAX_LOGGED_CHARS]
        logging.getLogger(__name__).warning("refused a payload: %s: %s", type(error).__name__, text)


def is_payload_error(error: BaseException) -> bool:
    """Return whether an error is one of the values that a program sent: Gradio raised it before any handler was called.

    Args:
        error: as it was caught.
    """
    frames = [
        frame for cause in (error.__cause__, error) if cause for frame, _ in traceback.walk_tb(cause.__traceback__)
    ]
    names = {frame.f_code.co_name for frame in frames if frame.f_globals.get("__name__", "").startswith("gradio.")}
    modules = {frame.f_globals.get("__name__", "") for frame in frames} - {MENU_CHECK_MODULE}
    is_own = any(module.startswith("ftlab.") for module in modules)
    return "call_process_api" in names and not is_own and names.isdisjoint({"call_function", "postprocess_data"})


def find_event(blocks: Blocks, api_name: str | None, body: Any) -> Any:
    """Return the event that a request names.

    Args:
        blocks: the page.
        api_name: name of the event, from the path.
        body: the request, perhaps with the number of the event.

    Returns:
        The event.

    Raises:
        HTTPException: there is none of that name, or only the page handles it, with status 404.
    """
    try:
        event = _gradio_get_fn(blocks, api_name, body)
    except FnIndexInferError as cause:
        raise HTTPException(404, messages.get_text("server.route")) from cause
    if event.fn is None:
        raise HTTPException(404, messages.get_text("server.route"))
    if all(isinstance(block, Api) for block in event.inputs):  # an endpoint: what is left out takes its default
        body.data += [None] * (len(event.inputs) - len(body.data))
    return event


def apply_limits() -> None:
    """Replace the names in Gradio's modules. Repeating it changes nothing."""
    slow_headers.limit_header_time()
    transport = RefusingTransport()
    # Files of payloads, by the functions with "ssrf_protected" in their names, and the older one without it.
    processing_utils.async_transport = transport  # type: ignore[assignment]
    processing_utils.sync_transport = transport  # type: ignore[assignment]
    processing_utils.sync_client = httpx.Client(transport=transport)
    # Files by the routes `file=` and `proxy=`: the server's table of routes refuses both before.
    safehttpx.async_validate_url = _refuse_fetching
    safehttpx.async_resolve_hostname_google = _refuse_fetching
    routes._proxy_transport = transport  # type: ignore[assignment]
    route_utils.GradioMultiPartParser = BoundedMultiPartParser  # type: ignore[misc]
    route_utils.get_fn = find_event
    for module in (queueing, routes):
        module.traceback = RefusalLog()  # type: ignore[attr-defined]
    state_holder.SessionState = LeanSessionState  # type: ignore[misc]


async def _refuse_fetching(_host_name: str) -> NoReturn:
    """Refuse to look up a host name.

    Raises:
        FetchRefusedError: always.
    """
    raise FetchRefusedError(messages.get_text("server.remote"))


def list_queued_tickets(demo: Blocks) -> Iterable[Ticket]:
    """Return the tickets of the events in Gradio's queue, waiting or running.

    Args:
        demo: the page.

    Returns:
        A ticket for each event that came by the server's middleware.
    """
    event_scopes = (event.request.scope for event in demo._queue.event_ids_to_events.values())
    return [event_scope[TICKET_KEY] for event_scope in event_scopes if TICKET_KEY in event_scope]


def find_free_texts(demo: Blocks, path: str, payload: dict[str, Any]) -> frozenset[int]:
    """Return which values of an event are text for people, and never a path.

    Args:
        demo: the page.
        path: path of the request.
        payload: its JSON, as a program sent it, with `data`.

    Returns:
        Positions in `data`.
    """
    name = path.rstrip("/").rpartition("/")[2]
    number, known = payload.get("fn_index"), demo.default_config.fns
    named_events = (event for event in known.values() if event.api_name == name)
    event = known.get(number) if isinstance(number, int) else next(named_events, None)
    inputs = list(event.inputs) if event else []
    if len(inputs) != len(payload["data"]):  # programs leave out what only the page knows
        inputs = [block for block in inputs if not block.skip_api]
    return frozenset(
        position
        for position, (block, _) in enumerate(zip(inputs, payload["data"], strict=False))
        if FREE_TEXT_CLASS in (getattr(block, "elem_classes", None) or ())
    )


def complete_mount_settings(demo: Blocks, *, session_capacity: int) -> None:
    """Set on a page what `launch` sets and `mount_gradio_app` has no parameter for; to be called before it is mounted.

    Args:
        demo: the page.
        session_capacity: open pages whose state stays in memory.
    """
    demo.state_session_capacity = session_capacity
    demo.default_config.fns = EventTable(demo.default_config.fns)
    # Files that a payload names are checked to be uploads only once a page counts as launched.
    demo.has_launched = True
    demo._queue.max_thread_count = demo.max_threads
    # Each millisecond otherwise, which takes a tenth of a core for as long as the server runs.
    demo._queue.sleep_when_free = max(demo._queue.sleep_when_free, QUEUE_PAUSE_SECONDS)
    demo._queue.progress_update_sleep_when_free = max(
        demo._queue.progress_update_sleep_when_free, PROGRESS_PAUSE_SECONDS
    )


def erase_sent_files(demo: Blocks) -> None:
    """Remove the files that pages have sent, and those that were made to be shown or downloaded.

    A file that cannot be removed raises an `OSError`. A folder that other programs use too keeps what is theirs.

    Args:
        demo: the page.
    """
    route_utils.delete_files_created_by_app(demo, None)
    folder = Path(get_upload_folder())
    if folder != get_default_uploads_dir():
        return
    kept_files = {Path(file) for block in demo.blocks.values() for file in getattr(block, "keep_in_cache", ())}
    # Also those of an earlier start of the server, which Gradio knows no more.
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):  # something is kept in it
                path.rmdir()
        elif path not in kept_files:
            path.unlink(missing_ok=True)


def close_mounted_page(demo: Blocks) -> None:
    """End the queue and the open streams of a mounted page, which would hold its server up.

    Args:
        demo: the page.
    """
    demo.is_running = False  # before the queue: the heartbeats of its streams end then
    demo._queue.close()  # type: ignore[no-untyped-call]
    if demo._queue.server_app is not None:
        demo._queue.server_app.stop_event.set()
