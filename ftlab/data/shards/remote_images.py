"""Images of shards on a server by their place: read by blocks, so that neighbors cost no further request. No torch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO, cast

from ftlab.core.errors import DataError
from ftlab.data.images.tar_members import NamedImage, split_member_path
from ftlab.data.shards.shard_files import find_url, open_shard

_BLOCK_BYTES = 1 << 20
_MAX_BLOCKS = 32
"""Blocks in memory: threads that read images one after the other are a few images apart."""


class RemoteImages:
    """Reads images of remote shards, from any number of threads; one connection, which goes on where it has been."""

    def __init__(self) -> None:
        """Begin without a connection."""
        self._lock = threading.Lock()
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._url, self._stream = "", cast("BinaryIO | None", None)

    def read(self, url: str, offset: int, count: int) -> bytes:
        """Return bytes of a file.

        Args:
            url: of the file.
            offset: of the first byte.
            count: number of bytes.

        Returns:
            The bytes, fewer at the end of the file.

        Raises:
            DataError: the server cannot be read from.
        """  # noqa: DOC502 (`open_shard` and its stream raise it)
        first = offset // _BLOCK_BYTES
        last = (offset + count - 1) // _BLOCK_BYTES
        with self._lock:
            content = b"".join(self._read_block(url, number) for number in range(first, last + 1))
        start = offset - first * _BLOCK_BYTES
        return content[start : start + count]

    def _read_block(self, url: str, number: int) -> bytes:
        """Return a block of a file, from memory if it is there."""
        key = (url, number)
        block = self._blocks.get(key)
        if block is None:
            if self._stream is None or self._url != url:
                self._close()
                self._stream, self._url = open_shard(url), url
            self._stream.seek(number * _BLOCK_BYTES)
            block = self._blocks[key] = self._stream.read(_BLOCK_BYTES)
            if len(self._blocks) > _MAX_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        return block

    def _close(self) -> None:
        """End the connection."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None


class _RemoteImage:
    """An image that is read when somebody reads it: the part of a stream that a decoder's parent process uses.

    Attributes:
        name: path of the image, for errors.
    """

    def __init__(self, path: Path) -> None:
        """Remember the path."""
        self.name = path.as_posix()
        self._path = path

    def seek(self, offset: int) -> int:
        """Return the offset, which is 0: `read` begins at the start."""
        return offset

    def read(self, _count: int = -1) -> bytes:
        """Return the whole image."""
        return read_remote_image(self._path).getvalue()


_SHARED_IMAGES = RemoteImages()


def read_remote_image(path: Path) -> NamedImage:
    """Return an image of a remote shard as a stream.

    Args:
        path: of the image, below the address of its shard, see `tar_members`.

    Returns:
        The content, with the path as its name.

    Raises:
        DataError: the server cannot be read from, or the shard is another one now.
    """
    member = split_member_path(path)
    url = find_url(member.tar_file) if member else None
    if member is None or url is None:
        raise DataError("data.missing", folder=path)
    content = _SHARED_IMAGES.read(url, member.offset, member.size_bytes)
    if len(content) < member.size_bytes:
        raise DataError("shards.changed", file=member.tar_file)
    return NamedImage(content, path.as_posix())


def load_image_source(path: Path) -> Path | NamedImage:
    """Return what a decoder in this process gets for an image: its path, or the content where it lies on a server."""
    return path if find_url(path) is None else read_remote_image(path)


def to_image_source(path: Path) -> Path | BinaryIO:
    """Return what a decoder in another process gets for an image: its path, or a stream where it lies on a server."""
    return path if find_url(path) is None else cast(BinaryIO, _RemoteImage(path))
