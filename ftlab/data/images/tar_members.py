"""Images in tar files: a member has a path below its tar file, and is read without unpacking. No torch.

`pets/train-000000.tar/1536+20814/cats/1.jpg` are 20,814 bytes of `pets/train-000000.tar` from byte 1,536 on; what
follows is a name for people. Where a real file has such a path, it is that file.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ftlab.core import file_io

_MEMBER_PATH = re.compile(r"(?P<tar_file>.+?\.tar)/(?P<offset>\d{1,18})\+(?P<size>\d{1,18})/(?P<name>.+)", re.DOTALL)
_UNSAFE_CHARS = re.compile(r"[\x00-\x1f\x7f\\]")
"""Characters that a path on some system cannot have, or that divide it there."""


@dataclass(frozen=True)
class TarMember:
    """Place of an image in a tar file.

    Attributes:
        tar_file: path of the tar file, absolute or relative as the member's path was.
        offset: position of its first byte.
        size_bytes: number of bytes.
        name: for people.
    """

    tar_file: str
    offset: int
    size_bytes: int
    name: str

    def make_path(self) -> str:
        """Return the path of the member: POSIX, none of its parts leads out of the tar file."""
        parts = [part for part in _UNSAFE_CHARS.sub("_", self.name).split("/") if part not in ("", ".", "..")]
        return "/".join([self.tar_file, f"{self.offset}+{self.size_bytes}", *(parts or ["image"])])


@dataclass(frozen=True)
class ImageFileState:
    """What `os.stat` says of an image: of its own file, or of the tar file that holds it.

    Attributes:
        size_bytes: of the image.
        signature: changes whenever the image may have changed.
        mtime_ns: time of the last change of the file.
    """

    size_bytes: int
    signature: tuple[int, ...]
    mtime_ns: int


class NamedImage(io.BytesIO):
    """Content of an image file that has no path of its own.

    Attributes:
        name: for errors.
    """

    def __init__(self, content: bytes, name: str) -> None:
        """Wrap the content."""
        super().__init__(content)
        self.name = name


def split_member_path(path: Path | str) -> TarMember | None:
    """Return the member that a path names by its form; None for another path. No file is opened."""
    match = _MEMBER_PATH.fullmatch(path if isinstance(path, str) else path.as_posix())
    return TarMember(match["tar_file"], int(match["offset"]), int(match["size"]), match["name"]) if match else None


def read_image_state(path: Path | str) -> ImageFileState:
    """Return the state of an image file, or of a member of a tar file.

    Args:
        path: of the image.

    Returns:
        Its state.

    Raises:
        OSError: there is no such file, or the tar file ends before the member does.
    """
    member: TarMember | None = None
    try:
        stat_result = os.stat(path)  # noqa: PTH116 - called for each of many images
    except OSError:
        member = split_member_path(path)
        if member is None:
            raise
        stat_result = os.stat(member.tar_file)  # noqa: PTH116
        if stat_result.st_size < member.offset + member.size_bytes:
            raise
    size_bytes = member.size_bytes if member else stat_result.st_size
    place = (member.offset,) if member else ()
    signature = (size_bytes, stat_result.st_mtime_ns, stat_result.st_ctime_ns, stat_result.st_ino, *place)
    return ImageFileState(size_bytes, signature, stat_result.st_mtime_ns)


def has_image(path: Path | str) -> bool:
    """Return whether an image file, or the tar file with such a member, is there."""
    try:
        read_image_state(path)
    except (OSError, ValueError):
        return False
    return True


def open_image_file(path: Path | str) -> BinaryIO:
    """Open an image file, or a member of a tar file, for reading bytes.

    Args:
        path: of the image.

    Returns:
        The stream; that of a member has its content in memory.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    try:
        return file_io.open_regular_file(path)
    except OSError:
        member = split_member_path(path)
        if member is None:
            raise
    with file_io.open_regular_file(member.tar_file) as stream:
        stream.seek(member.offset)
        content = stream.read(member.size_bytes)
    if len(content) < member.size_bytes:
        raise OSError(f"truncated: {member.tar_file}")
    return NamedImage(content, os.fspath(path))
