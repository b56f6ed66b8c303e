"""Names for the folders of a server for others, which no answer tells: neither their paths nor the user in them.

Gradio answers with the paths of files that it keeps, and the page sends them back; messages, logs and commands name
folders too. So every text that leaves such a server gets a short name in place of a folder, and what comes back gets
the folder in place of the name. The folder of Gradio's files has another name for each visitor: what one of them sent
or was shown, nobody else can ask for, as each name holds only for what this server has named to them. The secret names
of uploads are removed, whoever asks.

Only the names that pages need come back as folders, and only at the beginning of a text: a title or a person's name
that got a folder in place of a name could be cut, searched or counted, and would tell it.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ftlab.core import user_dirs
from ftlab.server import routes
from ftlab.server.admission import TICKET_KEY, Ticket
from ftlab.server.paths import get_visitors_dir
from ftlab.server.profile import ServerProfile
from ftlab.server.remote_addresses import FILE_ROUTE

_TEXT_TYPES = ("text/", "application/json")
_PROGRAM_ROUTES = ("/assets/", "/static/", "/svelte/")
"""Routes of Gradio's own scripts and styles, which name no folder of this server."""
_GRADIO_ROUTE = "/gradio_api/"
_PATH_ROUTES = (_GRADIO_ROUTE, f"{routes.TEACHER_PATH}/")
"""Routes whose JSON may hold paths."""
_EVENT_STREAM = "text/event-stream"

FindFreeTexts = Callable[[str, dict[str, Any]], frozenset[int]]
"""Function of a path and the JSON of a request: positions of those inputs of an event that are no paths."""

FILES_NAME = "/ftlab/files"
"""Name of the folder of Gradio's files; a part that holds for one visitor and one folder in it comes after it."""
IMAGES_NAME = "/ftlab/images"
"""Name of the folder of images, which a page may type."""
_FILES_PATTERN = re.compile(rf"{FILES_NAME}(?![\w.])(?:-([0-9a-f]{{32}})/([\w-][\w.-]*)(?=/|$))?", re.ASCII)
_IMAGES_PATTERN = re.compile(rf"(\s*(?:(?:folder|upload|tutorial) )?){IMAGES_NAME}(?![\w.-])")
"""A path, or the key under which a page keeps the excluded images of a folder (`data_choice.make_exclusion_key`)."""
_MAX_PATH_CHARS = 4096


class FolderNames:
    """Replacement of folders by names, and back."""

    def __init__(self, named_folders: Iterable[tuple[str, str]], key: bytes = b"") -> None:
        """Store the folders.

        Args:
            named_folders: name, as an absolute path that does not exist, and folder; an earlier folder wins over a
                later one that contains it. `FILES_NAME` is that of Gradio's files.
            key: secret of the server, by which names of files hold for one visitor only.
        """
        named_folders, self._key = list(named_folders), key
        files_folders = [os.path.normpath(folder) for name, folder in named_folders if name == FILES_NAME]
        self._files_folder = files_folders[0] if files_folders else ""
        self._files_pattern = re.compile(
            rb"(?:%s)(?![\w.-])(?:/([\w-][\w.-]*))?" % b"|".join(re.escape(folder.encode()) for folder in files_folders)
        )
        named_folders = [pair for pair in named_folders if pair[0] != FILES_NAME]
        pairs = [(name, os.path.normpath(folder)) for name, folder in named_folders if folder.strip("/\\")]
        self._name_by_folder = {folder.encode(): name.encode() for name, folder in reversed(pairs)}
        self._images_folder = dict(reversed(pairs)).get(IMAGES_NAME, "")
        folders = "|".join(re.escape(folder) for folder in dict.fromkeys(folder for _, folder in pairs))
        # The whole folder only, and not the beginning of another one's name.
        self._folder_pattern = re.compile(rf"(?:{folders})(?![\w.-])".encode())
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
            content = self._files_pattern.sub(lambda match: self._name_files(match[1], visitor), content)
        return self._folder_pattern.sub(lambda match: self._name_by_folder[match[0]], content)

    def restore(self, text: str, visitor: str = "") -> str:
        """Return a text with a folder in place of the name that it begins with, if pages send that one back.

        Args:
            text: one text that a page has sent, such as a path.
            visitor: who has sent it.

        Returns:
            The text. What leads to Gradio's files, however it is spelled, leads nowhere unless the server has given
            this visitor the name.
        """
        match = _FILES_PATTERN.match(text)
        if (
            match is not None
            and match[2]
            and hmac.compare_digest(match[1], self._sign_entry(match[2].encode(), visitor))
        ):
            path = f"{self._files_folder}{text[match.start(2) - 1 :]}"
            # Without a way out of what the name holds for.
            if f"{os.path.normpath(path)}/".startswith(f"{self._files_folder}/{match[2]}/"):
                return path
        if self._images_folder and (match := _IMAGES_PATTERN.match(text)) is not None:
            text = f"{match[1]}{self._images_folder}{text[match.end() :]}"
        return FILES_NAME if self._leads_to_files(text) else text

    def restore_values(self, value: Any, visitor: str = "") -> Any:
        """Return a value of JSON with folders in place of the names that its texts begin with.

        Args:
            value: the value; a `RecursionError` says that it is nested too deeply.
            visitor: who has sent it.

        Returns:
            The value.
        """
        if isinstance(value, str):
            return self.restore(value, visitor)
        if isinstance(value, list):
            return [self.restore_values(item, visitor) for item in value]
        if isinstance(value, dict):
            return {self.restore(key, visitor): self.restore_values(item, visitor) for key, item in value.items()}
        return value

    def _leads_to_files(self, text: str) -> bool:
        """Return whether a text is a path to Gradio's files."""
        if not self._files_folder or "/" not in text or len(text) > _MAX_PATH_CHARS:
            return False
        try:
            real_path = os.path.realpath(text)
        except (OSError, ValueError):  # a NUL byte, a loop of links
            return False
        return f"{real_path}/".startswith(f"{os.path.realpath(self._files_folder)}/")

    def _name_files(self, entry: bytes | None, visitor: str) -> bytes:
        """Return the name of a file or folder in the folder of Gradio's files; of that folder itself for None."""
        name = f"{FILES_NAME}-{self._sign_entry(entry or b'', visitor)}".encode()
        return name + b"/" + entry if entry else name

    def _sign_entry(self, entry: bytes, visitor: str) -> str:
        """Return what the name of a file or folder has in it for one visitor."""
        return hmac.new(self._key, visitor.encode() + b"\0" + entry, "sha256").hexdigest()[:32]


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
        (IMAGES_NAME, profile.data_root or Path("/")),
        ("/ftlab/program", Path(__file__).parents[2]),
        ("/ftlab/python", Path(sys.prefix)),
        ("/ftlab/python", Path(sys.base_prefix)),
        ("/ftlab/temporary", Path(tempfile.gettempdir())),
        ("/ftlab/working", Path.cwd()),
        ("/ftlab/user", Path.home()),
    ]
    variants = [(name, path) for name, folder in named_folders for path in (str(folder), os.path.realpath(folder))]
    # As files in JSON have them: other letters than those of English are escaped there.
    escaped_variants = [(name, json.dumps(path)[1:-1]) for name, path in variants if not path.isascii()]
    variants += [pair for pair in escaped_variants if "\\\\" not in pair[1]]
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
        find_free_texts: FindFreeTexts = lambda _path, _values: frozenset(),
    ) -> None:
        """Store the names.

        Args:
            app: the next ASGI application.
            folder_names: of the server.
            restores_requests: put folders into requests.
            hides_answers: put names into answers.
            find_free_texts: see `FindFreeTexts`; those inputs stay as they were typed.
        """
        self.app, self.folder_names = app, folder_names
        self.restores_requests, self.hides_answers = restores_requests, hides_answers
        self._find_free_texts = find_free_texts

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
            route, separator, location = scope["path"].partition(FILE_ROUTE)
            scope["path"] = route + separator + self.folder_names.restore(location, _get_visitor_name(scope))
            if scope["path"].startswith(_PATH_ROUTES) and Headers(scope=scope).get("content-type", "").startswith(
                "application/json"
            ):
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
            body = self._restore_json(b"".join(chunks), scope)
            return {"type": "http.request", "body": body, "more_body": False}

        return receive_restored

    def _restore_json(self, body: bytes, scope: Scope) -> bytes:
        """Return the body of a request with folders in place of names; as it is where it holds none."""
        try:
            values = json.loads(body)
            restored_values = self._restore_values(values, scope)
        except RecursionError:
            return b"null"
        except ValueError:  # Gradio says what is wrong with it
            return body
        return body if restored_values == values else json.dumps(restored_values).encode()

    def _restore_values(self, values: Any, scope: Scope) -> Any:
        """Return the JSON of a request with folders in place of names, where it may hold paths."""
        visitor, path = _get_visitor_name(scope), scope["path"]
        if not path.startswith(_GRADIO_ROUTE):  # of a teacher's command
            if isinstance(values, dict) and "folder" in values:
                values = {**values, "folder": self.folder_names.restore_values(values["folder"], visitor)}
            return values
        restored_values = self.folder_names.restore_values(values, visitor)
        if isinstance(values, dict) and isinstance(values.get("data"), list):
            for position in self._find_free_texts(path, values):
                restored_values["data"][position] = values["data"][position]
        return restored_values

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
