"""A folder of any file system of fsspec: of this machine, a bucket (`s3://`), a server (`sftp://`). No torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ftlab.core.errors import RunError

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_PART_SUFFIX = ".part"


def is_address(place: str) -> bool:
    """Return whether a place is an address, `SCHEME://…`, and no path."""
    return bool(_ADDRESS.match(place))


def hide_secrets(place: str) -> str:
    """Return a place without user, password and query."""
    if not is_address(place):
        return place
    parts = urlsplit(place)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class RemoteFolder:
    """A folder in which files are put, replaced and removed. Whatever goes wrong becomes one kind of error.

    Attributes:
        place: the folder without secrets, for people.
    """

    def __init__(self, place: str) -> None:
        """Refer to a folder, which need not exist; nothing is sent yet.

        Args:
            place: path or address.

        Raises:
            RunError: no file system is known by that scheme, or its library is not installed.
        """
        self.place = hide_secrets(place)
        try:
            import fsspec

            self._files, path = fsspec.core.url_to_fs(place)
        except ImportError as cause:
            raise RunError("copy.library", place=self.place, cause=_get_first_line(cause)) from cause
        except Exception as cause:  # each file system has errors of its own
            raise RunError("copy.failed", place=self.place, cause=_get_first_line(cause)) from cause
        self._path = PurePosixPath(path)

    def list_names(self, folder: str) -> set[str]:
        """Return the names of the files in a folder below this one; none where it does not exist.

        Raises:
            RunError: the file system does not answer, or refuses.
        """  # noqa: DOC502 (`_translate_errors` raises it, as in all methods)
        with self._translate_errors():
            # What was listed before may have changed: other processes write here too.
            self._files.invalidate_cache()
            try:
                entries = self._files.ls(self._join(folder), detail=False)
            except FileNotFoundError:
                return set()
        return {PurePosixPath(entry).name for entry in entries}

    def put_file(self, source: Path, name: str) -> None:
        """Copy a file here; a `RunError` says that it could not be.

        Args:
            source: the file.
            name: relative to this folder.
        """
        with self._translate_errors():
            self._files.makedirs(self._join(name).rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(source), self._join(name))

    def get_file(self, name: str, target: Path) -> None:
        """Copy a file from here; a `RunError` says that it could not be.

        Args:
            name: relative to this folder.
            target: path of the copy.
        """
        with self._translate_errors():
            self._files.get_file(self._join(name), str(target))

    def read_bytes(self, name: str) -> bytes | None:
        """Return the content of a small file; None where it does not exist. A `RunError` says that it is unreadable."""
        with self._translate_errors():
            try:
                content: bytes = self._files.cat_file(self._join(name))
            except FileNotFoundError:
                return None
        return content

    def replace_bytes(self, name: str, content: bytes) -> None:
        """Replace a small file: a reader gets the old content or the new one. A `RunError` says that it failed.

        Args:
            name: relative to this folder.
            content: of the file.
        """
        with self._translate_errors():
            part_path = self._join(name) + _PART_SUFFIX
            self._files.pipe_file(part_path, content)
            self._files.mv(part_path, self._join(name))

    def remove_file(self, name: str) -> None:
        """Remove a file, if it is there; a `RunError` says that it could not be.

        Args:
            name: relative to this folder.
        """
        with self._translate_errors():
            try:
                self._files.rm_file(self._join(name))
            except FileNotFoundError:
                return

    def _join(self, name: str) -> str:
        """Return the path of a file in its file system."""
        return str(self._path / name)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Turn any error of the block into a `RunError`: each file system raises its own.

        Yields:
            Nothing.

        Raises:
            RunError: the block failed.
        """
        try:
            yield
        except Exception as cause:
            raise RunError("copy.failed", place=self.place, cause=_get_first_line(cause)) from cause


def _get_first_line(error: Exception) -> str:
    """Return the first line of an error, or its kind."""
    reason: Any = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(reason).splitlines()[0].rstrip(".")
