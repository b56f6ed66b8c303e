"""The table of routes that the server answers. What is not in it is refused before Gradio sees it.

Gradio brings many more than the page needs: screen recording, component functions, deep links, media streams, a proxy,
code editing, monitoring. A feature with a route of its own adds a row here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ftlab.server.people.rights import Action

STOP_PATH = "/ftlab/stop"
"""Route of the Stop button: answered by `ftlab.server.stop_route`, outside Gradio's queue."""
JOIN_PATH = "/ftlab/join"
"""Page on which somebody joins a class, and the route that takes code and name."""
LEAVE_PATH = "/ftlab/leave"
"""Route that forgets who somebody is."""
TEACHER_PATH = "/ftlab/teacher"
"""The teacher's page; its routes lie below it."""
PROJECTOR_PATH = "/ftlab/projector"
"""The page for the projector, which the teacher opens."""
SIGN_IN_PATH, CALLBACK_PATH, SIGN_OUT_PATH = "/login/huggingface", "/login/callback", "/logout"
"""Routes of the sign-in: to the provider, back from it, and out."""
PUSH_QUERY = "push"
"""In the query of `SIGN_IN_PATH`: the person is asked to let ftlab push to the Hub."""
MCP_PATH = "/gradio_api/mcp"
"""Route of the tools for programs (Model Context Protocol), where the server offers them."""
PAGE_PATHS = frozenset({"/", JOIN_PATH})
"""Pages whose answers bring a visitor the cookie."""
_API = "/gradio_api"
_READ = frozenset({"GET", "HEAD"})
_POST = frozenset({"POST"})


class BodyKind(Enum):
    """What a request may carry."""

    NONE = "none"
    COMMAND = "command"
    JSON = "json"
    UPLOAD = "upload"


@dataclass(frozen=True)
class Route:
    """One row of the table.

    Attributes:
        methods: HTTP methods.
        path: the path, without a slash at its end; a prefix of it where it ends with `/` or `=`.
        body: what a request may carry.
        is_event: it puts an event into Gradio's queue, so it counts towards the bound on a visitor's events.
        is_counted: it can take long, so it counts towards the bound on a visitor's requests.
        action: what somebody must be allowed to do to use it; None: anybody may.
    """

    methods: frozenset[str]
    path: str
    body: BodyKind = BodyKind.NONE
    is_event: bool = False
    is_counted: bool = False
    action: Action | None = Action.OPEN

    def matches(self, path: str) -> bool:
        """Return whether a request's path belongs to this row.

        Args:
            path: path of the request, as decoded by the server, without a slash at its end.

        Returns:
            True for the same path, or one below it.
        """
        if self.path.endswith(("/", "=")):
            return path.startswith(self.path) and path != self.path
        return path == self.path


ROUTES = (
    # The page, and what it is made of.
    *(Route(_READ, path) for path in ("", "/config")),
    *(
        Route(_READ, path, action=None)
        for path in ("/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json", "/assets/", "/static/", "/svelte/")
    ),
    # What the page asks Gradio: at once, and as a stream that stays open.
    *(Route(_READ, f"{_API}/{name}", action=None) for name in ("app_id", "startup-events", "theme.css")),
    *(Route(_READ, f"{_API}/{name}") for name in ("file=", "info", "queue/status")),
    *(
        Route(_READ, f"{_API}/{name}", is_counted=True)
        for name in ("call/", "heartbeat/", "queue/data", "upload_progress")
    ),
    # Events, by way of the queue and without it. What an event may do is checked by its handler.
    *(
        Route(_POST, f"{_API}/{name}", BodyKind.JSON, is_event=True, is_counted=True)
        for name in ("queue/join", "call/")
    ),
    *(Route(_POST, f"{_API}/{name}", BodyKind.JSON, is_counted=True) for name in ("run/", "cancel", "reset")),
    Route(_POST, f"{_API}/upload", BodyKind.UPLOAD, is_counted=True, action=Action.UPLOAD),
    # Of ftlab's own. Not counted: a visitor whose page has used up its share can stop a run all the same.
    Route(_POST, STOP_PATH, BodyKind.COMMAND),
    Route(_READ, JOIN_PATH, action=None),
    *(Route(_POST, path, BodyKind.COMMAND, action=None) for path in (JOIN_PATH, LEAVE_PATH)),
    *(Route(_READ, path, action=Action.LEAD) for path in (TEACHER_PATH, f"{TEACHER_PATH}/", PROJECTOR_PATH)),
    Route(_POST, f"{TEACHER_PATH}/", BodyKind.COMMAND, action=Action.LEAD),
)
"""All routes of the server."""
SIGN_IN_ROUTES = (
    # Counted: the server asks the provider meanwhile.
    *(Route(frozenset({"GET"}), path, is_counted=True) for path in (SIGN_IN_PATH, CALLBACK_PATH)),
    Route(_POST, SIGN_OUT_PATH, BodyKind.COMMAND),
)
"""Further routes of a server on which people can sign in."""
# No stream without a question (GET): the server tells nothing by itself, and each request stands alone.
MCP_ROUTES = (Route(_POST, MCP_PATH, BodyKind.JSON, is_counted=True),)
"""Further routes of a server with tools for programs."""


def find_route(method: str, path: str, *, has_sign_in: bool = False, has_mcp: bool = False) -> Route | tuple[int, str]:
    """Return the row of a request, or why there is none.

    Args:
        method: HTTP method.
        path: path as decoded by the server.
        has_sign_in: people can sign in on this server.
        has_mcp: it has tools for programs.

    Returns:
        The row; or HTTP status and key below `server.` in the messages.
    """
    # Gradio answers many of its routes with a slash at the end too; one, not several, which would name another host.
    bare_path = path.removesuffix("/")
    known_routes = (*ROUTES, *(SIGN_IN_ROUTES if has_sign_in else ()), *(MCP_ROUTES if has_mcp else ()))
    rows = [row for row in known_routes if row.matches(bare_path)]
    if not rows:
        return 404, "route"
    return next((row for row in rows if method in row.methods), (405, "method"))
