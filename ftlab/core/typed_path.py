"""Read a path as people type or paste it: with quotes, as a `file:` address, with the shell's backslashes. No torch."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from ftlab.core import user_dirs
from ftlab.core.errors import DataError

_QUOTE_PAIRS = (('"', '"'), ("'", "'"), ("“", "”"), ("„", "“"), ("«", "»"), ("‘", "’"))
_ADDRESS = re.compile(r"(https?|ftps?|hf|s3|gs|az|ssh|git)://", re.IGNORECASE)
"""Addresses on the network, which no command opens as a path."""


def parse_typed_path(text: str | os.PathLike[str]) -> Path:
    """Return the path that a person means.

    A path that exists as it stands is taken as it stands. Otherwise white space and quotes around it are removed
    (Windows' *Copy as path* adds them), a `file:` address is decoded (RFC 8089), backslashes before spaces are removed
    (a file dragged into a terminal of macOS), and `~` is expanded.

    Args:
        text: as typed.

    Returns:
        The path, which need not exist.

    Raises:
        DataError: it is an address on the network.
    """
    raw_path = Path(text)
    if not isinstance(text, str) or _exists(raw_path):
        return user_dirs.expand_home(raw_path) if str(raw_path).startswith("~") else raw_path
    typed_text = _strip_quotes(text.strip())
    if typed_text.lower().startswith("file:"):
        typed_text = _decode_file_url(typed_text)
    elif _ADDRESS.match(typed_text):
        raise DataError("data.address", address=typed_text)
    path = user_dirs.expand_home(Path(typed_text))
    if os.sep == "/" and "\\" in typed_text and not _exists(path):
        unescaped_path = user_dirs.expand_home(Path(re.sub(r"\\(.)", r"\1", typed_text)))
        if _exists(unescaped_path):
            return unescaped_path
    return path


def _strip_quotes(text: str) -> str:
    """Return a text without the quotes around it, if there are any."""
    for opening, closing in _QUOTE_PAIRS:
        if len(text) > 2 and text.startswith(opening) and text.endswith(closing):
            return text[1:-1].strip()
    return text


def _decode_file_url(address: str) -> str:
    """Return the path in a `file:` address; that of a named host is a network share (`//host/share`)."""
    # Not `urlsplit(...).path`: it would cut a name at "#" or "?", which browsers escape but people do not.
    rest = address[len("file:") :]
    host = urlsplit(address).netloc if rest.startswith("//") else ""
    path = rest[2 + len(host) :] if rest.startswith("//") else rest
    prefix = "" if host.lower() in ("", "localhost") else f"//{host}"
    return prefix + (url2pathname(path) if os.sep == "\\" else unquote(path))


def _exists(path: Path) -> bool:
    """Return whether a path exists; one that is no valid path does not."""
    try:
        return os.path.lexists(path)
    except (OSError, ValueError):
        return False
