"""Names for the folders of a server for others, which no answer tells: neither their paths nor the user in them.

Gradio answers with the paths of files that it keeps, and the page sends them back; messages, logs and commands name
folders too. So every text that leaves such a server gets a short name in place of a folder, and what comes back gets
the folder in place of the name. The folder of Gradio's files has another name for each visitor: what one of them sent
or was shown, nobody else can ask for. The secret names of uploads are removed, whoever asks.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ftlab.core import user_dirs
from ftlab.server.admission import TICKET_KEY, Ticket
from ftlab.server.paths import get_visitors_dir
from ftlab.server.profile import ServerProfile

_TEXT_TYPES = ("text/", "application/json")
_PROGRAM_ROUTES = ("/assets/", "/static/", "/svelte/")
"""Routes of Gradio's own scripts and styles, which name no folder of this server."""
_EVENT_STREAM = "text/event-stream"


FILES_NAME = "/ftlab/files"
"""Name of the folder of Gradio's files; a part that each visitor has for themselves comes after it."""
_FILES_PATTERN = re.compile(rb"(?<![\w.-])/ftlab/files(?:-([0-9a-f]{16}))?(?![\w.-])")


class FolderNames:
    """Replacement of folders by names, and back."""

    def __init__(self, named_folders: Iterable[tuple[str, str]]) -> None:
        """Store the folders.

        Args:
            named_folders: name, as an absolute path that does not exist, and folder; an earlier folder wins over a
                later one that contains it. `FILES_NAME` is that of Gradio's files.
        """
        named_folders = list(named_folders)
        files_folders = [os.path.normpath(folder).encode() for name, folder in named_folders if name == FILES_NAME]
        self._files_folder = files_folders[0] if files_folders else b""
        self._files_pattern = re.compile(rb"(?:%s)(?![\w.-])" % b"|".join(map(re.escape, files_folders)))
        named_folders = [pair for pair in named_folders if pair[0] != FILES_NAME]
        pairs = [(name, os.path.normpath(folder)) for name, folder in named_folders if folder.strip("/\\")]
        self._name_by_folder = {folder.encode(): name.encode() for name, folder in reversed(pairs)}
        self._folder_by_name = {name.encode(): folder.encode() for name, folder in reversed(pairs)}
        folders = "|".join(re.escape(folder) for folder in dict.fromkeys(folder for _, folder in pairs))
        names = "|".join(re.escape(name) for name in dict.fromkeys(name for name, _ in pairs))
        # The whole folder only, and not the beginning of another one's name.
        self._folder_pattern = re.compile(rf"(?:{folders})(?![\w.-])".encode())
        self._name_pattern = re.compile(rf"(?<![\w.-])(?:{names})(?![\w.-])".encode())
        visitors_dir = re.escape(os.path.normpath(get_visitors_dir()))
        self._upload_pattern = re.compile(rf"(?:{visitors_dir}|/ftlab/home/visitors)/[0-9a-f]{{32,}}".encode())

    def hide(self, content: bytes, visitor: str = "") -> bytes:
        """Return a text with names in place of folders.

        Args:
            content: the text, in UTF-8.
            visitor: who is to read it.

        Returns:
            The text, in UTF-8.
        """
        content = self._upload_pattern.sub(b"upload", content)
        if self._files_folder:
            content = self._files_pattern.sub(f"{FILES_NAME}-{_make_visitor_part(visitor)}".encode(), content)
        return self._folder_pattern.sub(lambda match: self._name_by_folder[match[0]], content)

    def restore(self, content: bytes, visitor: str = "") -> bytes:
        """Return a text with folders in place of names; another visitor's name for Gradio's files stays a name.

        Args:
            content: the text, in UTF-8.
            visitor: who has sent it.

        Returns:
            The text, in UTF-8.
        """
        own_part = _make_visitor_part(visitor).encode()
        content = self._name_pattern.sub(lambda match: self._folder_by_name[match[0]], content)
        if not self._files_folder:
            return content
        # By another name for a folder above it, or by its own, which nobody is told.
        content = self._files_pattern.sub(FILES_NAME.encode(), content)
        return _FILES_PATTERN.sub(lambda match: self._files_folder if match[1] == own_part else match[0], content)


def _make_visitor_part(visitor: str) -> str:
    """Return what the name of Gradio's files ends with for one visitor."""
    return hashlib.sha256(visitor.encode()).hexdigest()[:16]


def list_named_folders(profile: ServerProfile, uploads_dir: Path) -> list[tuple[str, str]]:
    """Return the names and folders of a server.

    Args:
        profile: profile of the server.
        uploads_dir: folder of Gradio's uploads.

    Returns:
        Pairs as `FolderNames` takes them, folders within others first.
    """
    named_folders = [
        (FILES_NAME, uploads_dir),
        ("/ftlab/runs", profile.runs_dir),
        ("/ftlab/home", user_dirs.get_ftlab_home()),
        ("/ftlab/images", profile.data_root or Path("/")),
        ("/ftlab/program", Path(__file__).parents[2]),
        ("/ftlab/python", Path(sys.prefix)),
        ("/ftlab/python", Path(sys.base_prefix)),
        ("/ftlab/temporary", Path(tempfile.gettempdir())),
        ("/ftlab/working", Path.cwd()),
        ("/ftlab/user", Path.home()),
    ]
    variants = [(name, path) for name, folder in named_folders for path in (str(folder), os.path.realpath(folder))]
    # A folder within another one comes first: regular expressions take the first alternative that matches.
    return sorted(variants, key=lambda pair: len(pair[1]), reverse=True)


class PathRedaction:
    """ASGI middleware that applies `FolderNames` to requests and answers."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        folder_names: FolderNames,
        restores_requests: bool = True,
        hides_answers: bool = True,
    ) -> None:
        """Store the names.

        Args:
            app: the next ASGI application.
            folder_names: of the server.
            restores_requests: put folders into requests.
            hides_answers: put names into answers.
        """
        self.app, self.folder_names = app, folder_names
        self.restores_requests, self.hides_answers = restores_requests, hides_answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with folders in it, and its answer with names.

        Args:
            scope: ASGI connection scope.
            receive: ASGI receive channel.
            send: ASGI send channel.

        Returns:
            None; ASGI answers through `send`.
        """
        if scope["type"] != "http" or scope["path"].startswith(_PROGRAM_ROUTES):
            return await self.app(scope, receive, send)
        if self.restores_requests:
            path = self.folder_names.restore(scope["path"].encode("utf-8", "surrogateescape"), _get_visitor_name(scope))
            scope["path"] = path.decode("utf-8", "surrogateescape")
            if Headers(scope=scope).get("content-type", "").startswith("application/json"):
                receive = self._restore_body(scope, receive)
        return await self.app(scope, receive, self._hide_body(scope, send) if self.hides_answers else send)

    def _restore_body(self, scope: Scope, receive: Receive) -> Receive:
        """Return a `receive` that gives the body of a request at once, with folders in it."""
        is_given = False

        async def receive_restored() -> Message:
            nonlocal is_given
            if is_given:
                return await receive()
            chunks: list[bytes] = []
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return message
                chunks.append(message.get("body", b""))
                if not message.get("more_body", False):
                    break
            is_given = True
            body = self.folder_names.restore(b"".join(chunks), _get_visitor_name(scope))
            return {"type": "http.request", "body": body, "more_body": False}

        return receive_restored

    def _hide_body(self, scope: Scope, send: Send) -> Send:
        """Return a `send` that hides folders in texts; events are passed on one by one, other texts as a whole."""
        start_message: Message | None = None
        chunks: list[bytes] = []
        content_type = ""

        def hide(content: bytes) -> bytes:
            return self.folder_names.hide(content, _get_visitor_name(scope))

        async def send_hidden(message: Message) -> None:
            nonlocal start_message, content_type
            if message["type"] == "http.response.start":
                content_type = Headers(raw=message["headers"]).get("content-type", "")
                if content_type.startswith(_TEXT_TYPES) and not content_type.startswith(_EVENT_STREAM):
                    start_message = message  # its length is not known yet
                    return
            elif message["type"] == "http.response.body" and content_type.startswith(_EVENT_STREAM):
                message = {**message, "body": hide(message.get("body", b""))}
            elif message["type"] == "http.response.body" and start_message is not None:
                chunks.append(message.get("body", b""))
                if message.get("more_body", False):
                    return
                body = hide(b"".join(chunks))
                # An answer to HEAD states the length of what it does not send.
                if body:
                    MutableHeaders(raw=start_message["headers"])["content-length"] = str(len(body))
                await send(start_message)
                start_message, message = None, {**message, "body": body}
            await send(message)

        return send_hidden


def _get_visitor_name(scope: Scope) -> str:
    """Return the name of the visitor who sent a request; empty for one that the server has refused before."""
    ticket = scope.get(TICKET_KEY)
    return ticket.visitor.name if isinstance(ticket, Ticket) else ""
