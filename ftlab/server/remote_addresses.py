"""Addresses of other machines in what a visitor sends. Gradio would fetch some of them (server-side request forgery).

Gradio takes for a file whatever object has a `path`, wherever it lies in a payload, and downloads it where the path is
an address. So in every such object `path` and `url` must name files of this server; other text may hold addresses, for
instance the title of a run.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

FILE_KEYS = ("path", "url")
"""Keys under which Gradio's file objects hold a location."""
FILE_ROUTE = "/gradio_api/file="
"""Route of the files that this server shows."""

# A scheme of at least two letters ("C:" begins a path on Windows), or two slashes of either kind, which name a host.
# Browsers and libraries drop spaces and control characters before an address.
_ADDRESS_PATTERN = re.compile(r"[\x00-\x20]*(?:[A-Za-z][A-Za-z0-9+.-]+:|[\\/][\x00-\x20]*[\\/])")


def is_address(text: str) -> bool:
    """Return whether a text names something on another machine, or data in itself (`data:`), and not a path."""
    return _ADDRESS_PATTERN.match(text) is not None


def holds_remote_file(payload: object, own_hosts: Collection[str]) -> bool:
    """Return whether an object anywhere in a payload names a file by an address.

    Args:
        payload: decoded JSON.
        own_hosts: `host` or `host:port` of this server. The page sends the addresses of this server's own files back,
            as `url`; Gradio does not fetch those.

    Returns:
        True if one does.
    """
    # Not recursive: a visitor decides how deep it is.
    pending: list[object] = [payload]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, dict):
            pending.extend(value.values())
            for key in FILE_KEYS:
                location = value.get(key)
                if not isinstance(location, str) or not is_address(location):
                    continue
                if key != "url" or not _is_own_file(location, own_hosts):
                    return True
    return False


def _is_own_file(address: str, own_hosts: Collection[str]) -> bool:
    """Return whether an address is that of a file which this server shows."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and parts.netloc.lower() in own_hosts
        and parts.path.startswith(FILE_ROUTE)
        and not is_address(parts.path.removeprefix(FILE_ROUTE))
    )
