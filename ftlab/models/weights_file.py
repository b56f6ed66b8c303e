"""Safetensors files with a JSON header and a seal: a file in which any bit has changed is not taken for a good one."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ftlab.core import file_io

_OWN_KEY = "ftlab"
_BLANK = "0" * 64
_SEAL = re.compile(rb'\\"sha256\\": \\"([0-9a-f]{64})\\"')
"""As JSON inside the file's own JSON."""
_CHUNK = 1 << 22


class Broken(Exception):
    """A file is there and is not what was written. The message says what is wrong with it, for a line in a log."""


def write(path: Path, tensors: dict[str, Tensor], header: dict[str, Any], before: Path | None = None) -> None:
    """Put tensors and a JSON header into a file in one go.

    The seal is the SHA-256 of the whole file with zeros in the seal's own place.

    Args:
        path: of the file.
        tensors: of any shapes and dtypes, on any device.
        header: plain JSON.
        before: where a file that is there already moves; None replaces it.

    Raises:
        OSError: the file cannot be written; what stood there before still does.
    """
    with file_io.fresh(path, before) as part:
        plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        try:
            save_file(plain, part, {_OWN_KEY: json.dumps({"sha256": _BLANK, **header})})
        except SafetensorError as cause:
            raise _system(cause) from cause
        seal, place = _digest(part)
        with open(part, "rb+") as file:
            file.seek(place)
            file.write(seal.encode())


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the processor, and the header of a file as `write` makes it.

    Raises:
        Broken: it is not as it was written.
        OSError: it cannot be read.
    """
    header = check(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, header  # noqa: SIM118 (it is no dict)
    except SafetensorError as cause:
        raise Broken(str(cause).splitlines()[0]) from cause


def check(path: Path) -> dict[str, Any]:
    """The header of a file, if the seal is whole; the tensors are looked at and not kept.

    Raises:
        Broken: it is not as it was written.
        OSError: it cannot be read.
    """
    found, place = _digest(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = file.read(length)
    if head[place - 8 : place - 8 + len(_BLANK)].decode("ascii", "replace") != found:
        raise Broken("its checksum does not match")
    header: dict[str, Any] = json.loads(json.loads(head)["__metadata__"][_OWN_KEY])
    del header["sha256"]
    return header


def seal(path: Path) -> str:
    """The checksum that a file carries, in hex, whether it is right or not: it tells one version from another at once.

    Raises:
        Broken: there is no place for one in it.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        first = file.read(8)
        found = _SEAL.search(file.read(min(int.from_bytes(first, "little"), path.stat().st_size)))
    if found is None:
        raise Broken("it has no checksum")
    return found.group(1).decode()


def _system(cause: SafetensorError) -> OSError:
    """The system's own error, whose number stands only in the text of this one."""
    number = re.search(r"\(os error (\d+)\)", str(cause))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number and os.name != "nt" else OSError(str(cause))


def _digest(path: Path) -> tuple[str, int]:
    """SHA-256 of a file as if its seal were zeros, in hex, and the byte at which the seal stands.

    Raises:
        Broken: there is no place for a seal in it.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        first = file.read(8)
        length = int.from_bytes(first, "little")
        if len(first) < 8 or length > size - 8:
            raise Broken("it is cut short")
        head = file.read(length)
        seal = _SEAL.search(head)
        if seal is None:
            raise Broken("it has no checksum")
        digest = hashlib.sha256(first)
        digest.update(head[: seal.start(1)] + _BLANK.encode() + head[seal.end(1) :])
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest(), 8 + seal.start(1)
