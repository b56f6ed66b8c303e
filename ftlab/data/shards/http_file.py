"""A file on an HTTP server as a stream that is read forward by one request, and by another where that broke off.

fsspec's own HTTP file takes any answer to a range for the range that it asked for (2026.9.0), so that a server or cache
that answers with other bytes gives other images. Here each answer is checked before a byte of it is used. No torch.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import time
import urllib.error
import urllib.parse
import urllib.request

from ftlab import __version__
from ftlab.core.errors import DataError
from ftlab.data.sources import download

_CHUNK_BYTES = 1 << 18
_SKIP_BYTES = 1 << 20
"""Distance up to which bytes are received and dropped; farther on a new request is faster."""
_BACK_BYTES = 1 << 10
"""Bytes before the last chunk that can be read again: `tarfile` goes back by one byte before each header."""
_RETRIED_STATUSES = (408, 429)
_ERRORS = (urllib.error.URLError, http.client.HTTPException, OSError)
"""What a broken connection raises, also while an answer is read."""


class _WrongAnswerError(Exception):
    """An answer that is not the requested part of the file; the message says what was wrong in a few words."""


class HttpFile(io.RawIOBase):
    """A remote file, opened with its first request.

    Attributes:
        name: the address without user, password and query, which may be secret.
        size: of the file in bytes; None where the server does not say it.
    """

    def __init__(self, url: str) -> None:
        """Open the file.

        Args:
            url: `http://` or `https://`.

        Raises:
            DataError: the server is not reachable or refuses.
        """  # noqa: DOC502 (`_receive` raises it)
        super().__init__()
        self._url, self.name = url, strip_secrets(url)
        self.size: int | None = None
        self._version = ""
        """ETag of the file, or the time of its last change."""
        self._response: http.client.HTTPResponse | None = None
        self._received = 0
        """Position after the last byte that was received."""
        self._window = b""
        """The last bytes before `_received`."""
        self._position = 0
        self._window = self._receive()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True; going back costs a request."""
        return True

    def tell(self) -> int:
        """Return the position of the next byte to read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position without a request.

        Args:
            offset: in bytes.
            whence: what it counts from: the beginning or the position.

        Returns:
            The new position.

        Raises:
            UnsupportedOperation: it counts from the end, or lies before the beginning.
        """
        position = offset + (self._position if whence == io.SEEK_CUR else 0)
        if whence == io.SEEK_END or position < 0:
            raise io.UnsupportedOperation("seek")
        self._position = position
        return position

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes: `size` of them, fewer only at the end of the file.

        Args:
            size: number of bytes; -1 for all that follow.

        Returns:
            The bytes.

        Raises:
            DataError: the server cannot be read from any more, or the file has changed.
        """  # noqa: DOC502 (`_receive` raises it)
        pieces: list[bytes] = []
        missing = size
        while missing:
            start = self._position - (self._received - len(self._window))
            if not 0 <= start < len(self._window):
                if not self._move_window():
                    break
                continue
            piece = self._window[start : start + missing] if missing > 0 else self._window[start:]
            pieces.append(piece)
            self._position += len(piece)
            missing -= len(piece) if missing > 0 else 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """End the connection."""
        self._disconnect()
        super().close()

    def _move_window(self) -> bool:
        """Receive the bytes that follow, or those at the position if it lies elsewhere.

        Returns:
            Whether there are more bytes.
        """
        if not 0 <= self._position - self._received <= _SKIP_BYTES:
            self._disconnect()
            self._received, self._window = self._position, b""
        chunk = self._receive()
        self._window = self._window[-_BACK_BYTES:] + chunk
        return bool(chunk)

    def _receive(self) -> bytes:
        """Receive the next chunk, with as many new connections as it takes.

        Returns:
            The bytes after `_received`, which is moved on; empty at the end of the file.

        Raises:
            DataError: no connection gave a byte, or the file has changed.
        """
        reason = ""
        for attempt in range(download.MAX_ATTEMPTS):
            if attempt:
                time.sleep(download.RETRY_DELAY_SECONDS)
            try:
                if self.size is not None and self._received >= self.size:
                    return b""
                response = self._response or self._connect()
                chunk = response.read(_CHUNK_BYTES)
            except urllib.error.HTTPError as cause:
                cause.close()
                reason = f"HTTP {cause.code} {cause.reason}"
                if cause.code < 500 and cause.code not in _RETRIED_STATUSES:
                    break
            except _WrongAnswerError as cause:
                reason = str(cause)
            except _ERRORS as cause:
                reason = download.describe_error(cause)
            else:
                if chunk or self.size is None:
                    self._received += len(chunk)
                    self.size = self.size if chunk else self._received
                    return chunk
                reason = "the connection broke off"
            self._disconnect()
        raise DataError("shards.http", file=self.name, cause=reason)

    def _connect(self) -> http.client.HTTPResponse:
        """Request the file from `_received` on, and check that the answer is that.

        Returns:
            The answer; its first byte is the one at `_received`.

        Raises:
            DataError: the file is another one now.
            _WrongAnswerError: the answer is something else.
        """
        # Identity: byte ranges and sizes count the file itself only if it is not compressed on the way.
        headers = {"User-Agent": f"ftlab/{__version__}", "Accept-Encoding": "identity"}
        if self._received:
            headers["Range"] = f"bytes={self._received}-"
        request = urllib.request.Request(self._url, headers=headers)
        self._response = urllib.request.urlopen(request, timeout=download.TIMEOUT_SECONDS)
        response: http.client.HTTPResponse = self._response
        start, total_bytes = download.parse_content_range(response)
        version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise _WrongAnswerError("the answer is compressed")
        if start not in (0, self._received) or response.status not in (200, 206):
            raise _WrongAnswerError(f"asked for byte {self._received:,}, it sent others (HTTP {response.status})")
        is_known = self.size is not None and total_bytes
        if (is_known and total_bytes != self.size) or (self._version and version and version != self._version):
            raise DataError("shards.changed", file=self.name)
        self.size, self._version = self.size or total_bytes or None, self._version or version
        # A server without ranges begins anew: what is known already is dropped.
        while start < self._received:
            chunk = response.read(min(_CHUNK_BYTES, self._received - start))
            if not chunk:
                raise _WrongAnswerError("the connection broke off")
            start += len(chunk)
        return response

    def _disconnect(self) -> None:
        """End the connection, if there is one."""
        response, self._response = self._response, None
        if response is not None:
            with contextlib.suppress(*_ERRORS):
                response.close()


def strip_secrets(url: str) -> str:
    """Return an address without user, password, query and fragment."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
