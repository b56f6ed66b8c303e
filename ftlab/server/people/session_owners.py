"""Whose a page's session and events are.

Gradio takes whoever names a session or an event for the one whose it is. So each name belongs to the visitor who used
it first, or whose request made it.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

MAX_KNOWN_NAMES, MAX_NAMES_OF_VISITOR = 8192, 256
"""Names that are remembered: in all, and of one visitor; beyond them, the one unused for longest is forgotten."""
MAX_EVENT_ANSWER_BYTES = 4096
"""Bytes of an answer that may hold the name of an event."""
NAME_FIELDS = ("session_hash", "event_id", "upload_id")
"""Fields of a request's body or address that name a session, an event or an upload."""
_NAMED_ROUTE = re.compile(r"/gradio_api/(?:heartbeat|call/.+)/([^/]*)", re.DOTALL)
"""Routes whose address ends with such a name."""


class SessionOwners:
    """Visitors by the names of sessions and events. Thread-safe."""

    def __init__(self, capacity: int = MAX_KNOWN_NAMES, capacity_of_visitor: int = MAX_NAMES_OF_VISITOR) -> None:
        """Start with no name.

        Args:
            capacity: names that are remembered.
            capacity_of_visitor: names that are remembered of one visitor.
        """
        self._capacity, self._capacity_of_visitor = capacity, capacity_of_visitor
        self._owners: OrderedDict[bytes, str] = OrderedDict()
        self._names: dict[str, OrderedDict[bytes, None]] = {}
        self._lock = threading.Lock()

    def claim(self, names: Iterable[str], visitor: str) -> bool:
        """Return whether names are a visitor's, or nobody's, who then gets them.

        Args:
            names: of sessions and events.
            visitor: name of who sent the request.
        """
        digests = [hashlib.sha256(name.encode("utf-8", "replace")).digest() for name in names]
        with self._lock:
            if any(self._owners.get(digest, visitor) != visitor for digest in digests):
                return False
            own_names = self._names.setdefault(visitor, OrderedDict()) if digests else OrderedDict()
            for digest in digests:
                for known in (self._owners, own_names):
                    known.pop(digest, None)
                self._owners[digest], own_names[digest] = visitor, None
            # First of the visitor's own, so that nobody makes the server forget whose the others' are.
            while len(own_names) > self._capacity_of_visitor:
                self._forget(next(iter(own_names)))
            while len(self._owners) > self._capacity:
                self._forget(next(iter(self._owners)))
        return True

    def hand_over(self, visitor: str, new_name: str) -> None:
        """Let the names of a visitor, whose pages stay open, belong to their new identity.

        Args:
            visitor: name of the visitor until now.
            new_name: from now on.
        """
        with self._lock:
            digests = self._names.pop(visitor, OrderedDict())
            for digest in digests:
                self._owners[digest] = new_name
            if digests:
                self._names.setdefault(new_name, OrderedDict()).update(digests)

    def _forget(self, digest: bytes) -> None:
        visitor = self._owners.pop(digest)
        del self._names[visitor][digest]
        if not self._names[visitor]:
            del self._names[visitor]


def list_address_names(path: str, query: bytes) -> list[str]:
    """Return the names of sessions and events in the address of a request.

    Args:
        path: decoded path.
        query: what comes after the question mark, not decoded.
    """
    fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    names = [value for field, value in fields if field in NAME_FIELDS]
    match = _NAMED_ROUTE.fullmatch(path.removesuffix("/"))
    return [*names, match[1]] if match else names


def list_body_names(payload: Any) -> list[str]:
    """Return the names of sessions and events in the JSON of a request.

    Args:
        payload: the values; what is no text is none of Gradio's names, and is refused by it.
    """
    values = [payload.get(field) for field in NAME_FIELDS] if isinstance(payload, dict) else []
    return [value for value in values if isinstance(value, str)]


def parse_event_name(answer: bytes) -> list[str]:
    """Return the name of the event that an answer tells, if it tells one.

    Args:
        answer: body of the answer to a request that puts an event into the queue.
    """
    if len(answer) > MAX_EVENT_ANSWER_BYTES:
        return []
    try:
        return list_body_names(json.loads(answer))
    except ValueError:
        return []
