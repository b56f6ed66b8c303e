"""Open a shard wherever it lies: on this machine, an HTTP server, or any file system of fsspec. No torch."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

from ftlab.core import file_io
from ftlab.core.errors import DataError
from ftlab.data.shards.http_file import HttpFile, strip_secrets

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_SCHEME_OF_PATH = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.IGNORECASE | re.DOTALL)
_BLOCK_BYTES = 8 << 20
"""Bytes of a request to a file system of fsspec, which reads ahead by as many."""
_UNKNOWN_SIZE = 1 << 62


class _FsspecFile(io.RawIOBase):
    """A file of fsspec, whose many kinds of errors become one: each library below it raises its own."""

    def __init__(self, url: str) -> None:
        """Open a file.

        Args:
            url: `s3://`, `hf://` …

        Raises:
            DataError: it cannot be opened, or the library for its file system is missing.
        """
        super().__init__()
        self._name = strip_secrets(url)
        try:
            import fsspec

            self._file = fsspec.open(url, "rb", block_size=_BLOCK_BYTES).open()
        except ImportError as cause:
            raise DataError("shards.library", file=self._name, cause=_describe(cause)) from cause
        except Exception as cause:
            raise DataError("data.unreadable", folder=self._name, cause=_describe(cause)) from cause
        self.size = getattr(self._file, "size", None)

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position as a file does.

        Args:
            offset: in bytes.
            whence: what it counts from.

        Returns:
            The position.
        """
        return cast(int, self._call(self._file.seek, offset, whence))

    def tell(self) -> int:
        """Return the position."""
        return cast(int, self._call(self._file.tell))

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, fewer than `size` only at the end."""
        return cast(bytes, self._call(self._file.read, size))

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._call(self._file.close)
        super().close()

    def _call(self, operation: Callable[..., Any], *values: int) -> Any:
        """Return the result of an operation of the file.

        Args:
            operation: to call.
            values: its arguments.

        Raises:
            DataError: it failed.
        """
        try:
            return operation(*values)
        except Exception as cause:
            raise DataError("shards.http", file=self._name, cause=_describe(cause)) from cause


def is_url(location: Path | str) -> bool:
    """Return whether a location is an address, `SCHEME://…`, and no path."""
    return isinstance(location, str) and bool(_SCHEME.match(location))


def find_url(path: Path | str) -> str | None:
    """Return the address that a path stands for; None for the path of a file.

    Args:
        path: of a data set, or below it. `pathlib` leaves only one of the slashes of `https://HOST`.
    """
    match = _SCHEME_OF_PATH.match(path if isinstance(path, str) else path.as_posix())
    return f"{match[1]}://{match[2]}" if match else None


def open_shard(location: Path | str) -> BinaryIO:
    """Open a shard for reading.

    An `OSError` says that a file of this machine cannot be opened.

    Args:
        location: path or address.

    Returns:
        The stream. Reading forward is fast; going back costs a request where the file is remote.

    Raises:
        DataError: a remote file cannot be opened.
    """  # noqa: DOC502 (the two classes raise it)
    scheme = _SCHEME.match(str(location))
    if not is_url(location) or scheme is None:
        return file_io.open_regular_file(location)
    is_http = scheme[1].lower() in ("http", "https")
    return cast(BinaryIO, HttpFile(str(location)) if is_http else _FsspecFile(str(location)))


def find_size(stream: BinaryIO) -> int:
    """Return the size in bytes of a stream of `open_shard`; one beyond any file where the server does not say it."""
    if isinstance(stream, (HttpFile, _FsspecFile)):
        return _UNKNOWN_SIZE if stream.size is None else stream.size
    return os.fstat(stream.fileno()).st_size


def _describe(cause: Exception) -> str:
    """Return the first line of an error of a library, or its kind."""
    return (str(cause) or type(cause).__name__).splitlines()[0].rstrip(".")
