"""Names of the members of a shard: `KEY.EXTENSION`, where the first dot of the file name ends the key. No torch."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from ftlab.data.images.decode import IMAGE_SUFFIXES

CLASS_EXTENSION, JSON_EXTENSION = "cls", "json"
UNKNOWN_IMAGE_EXTENSION = "img"
"""Extension of an image whose file has no suffix of an image."""
IMAGE_EXTENSIONS = frozenset(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES) | {UNKNOWN_IMAGE_EXTENSION}
"""Extensions of the members that hold an image, lower case."""

_UNSAFE_CHARS = re.compile(r'[\x00-\x1f\x7f<>:"\\|?*]')
"""Characters that some system refuses in a file name, so that a shard can be unpacked everywhere."""
_METADATA_NAME = re.compile(r"__[^/]*__($|/)")
"""Beginnings of names that WebDataset passes over (webdataset 1.0.2, `tariterators.tar_file_iterator`)."""


def split_member_name(name: str) -> tuple[str, str] | None:
    """Split the name of a member as WebDataset does: at the first dot after the last slash.

    Args:
        name: of the member.

    Returns:
        The key, with its folders, and the extension in lower case; None for a name without a key or an extension.
    """
    folder, slash, file_name = name.rpartition("/")
    stem, dot, extension = file_name.partition(".")
    return (f"{folder}{slash}{stem}", extension.lower()) if stem and dot else None


def is_metadata_name(name: str) -> bool:
    """Return whether a member describes the shard and belongs to no sample, by its name."""
    return bool(_METADATA_NAME.match(name))


def get_image_extension(path: str) -> str:
    """Return the extension of the member that holds an image file, by the suffix of its path."""
    suffix = PurePosixPath(path).suffix.lower()
    return suffix.removeprefix(".") if suffix in IMAGE_SUFFIXES else UNKNOWN_IMAGE_EXTENSION


class KeyMaker:
    """Makes keys of paths: each once, and none that a reader would cut, pass over or write outside a folder."""

    def __init__(self) -> None:
        """Begin without keys."""
        self._taken_keys: set[str] = set()

    def make_key(self, path: str) -> str:
        """Return the key of an image.

        It is the path without its suffix. Further dots of the file name become underscores, as do characters that a
        system may refuse; what leads out of the folder is left out; a number follows where the key is taken.

        Args:
            path: POSIX path of the file.

        Returns:
            The key, which no later call returns again.
        """
        parts = [_UNSAFE_CHARS.sub("_", part) for part in path.split("/") if part not in ("", ".", "..")]
        *folders, file_name = parts or ["image"]
        pure_name = PurePosixPath(file_name)
        stem = pure_name.stem if pure_name.suffix.lower() in IMAGE_SUFFIXES else file_name
        folders = [f"_{folder.strip('_')}" if is_metadata_name(folder) else folder for folder in folders]
        base_key = "/".join([*folders, stem.replace(".", "_")])
        key, number = base_key, 1
        while key in self._taken_keys:
            number += 1
            key = f"{base_key}-{number}"
        self._taken_keys.add(key)
        return key
