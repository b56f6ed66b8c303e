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

_METADATA_KEY = "ftlab"
_BLANK_CHECKSUM = "0" * 64
_CHECKSUM_PATTERN = re.compile(rb'\\"sha256\\": \\"([0-9a-f]{64})\\"')
"""As JSON inside the file's own JSON."""
_READ_CHUNK_BYTES = 1 << 22


class CorruptFileError(Exception):
    """A file is there and is not what was written. The message says what is wrong with it, for a line in a log."""


def save_tensors(
    path: Path, tensors: dict[str, Tensor], header: dict[str, Any], backup_path: Path | None = None
) -> None:
    """Put tensors and a JSON header into a file in one go.

    The seal is the SHA-256 of the whole file with zeros in the seal's own place.

    Args:
        path: of the file.
        tensors: of any shapes and dtypes, on any device.
        header: plain JSON.
        backup_path: where a file that is there already moves; None replaces it.

    Raises:
        OSError: the file cannot be written; what stood there before still does.
    """
    with file_io.atomic_write(path, backup_path) as temp_path:
        cpu_tensors = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        try:
            save_file(cpu_tensors, temp_path, {_METADATA_KEY: json.dumps({"sha256": _BLANK_CHECKSUM, **header})})
        except SafetensorError as cause:
            raise _to_os_error(cause) from cause
        checksum, offset = _compute_checksum(temp_path)
        with open(temp_path, "rb+") as file:
            file.seek(offset)
            file.write(checksum.encode())


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the processor, and the header of a file as `save_tensors` makes it.

    Raises:
        Broken: it is not as it was written.
        OSError: it cannot be read.
    """
    header = read_verified_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, header  # noqa: SIM118 (it is no dict)
    except SafetensorError as cause:
        raise CorruptFileError(str(cause).splitlines()[0]) from cause


def read_verified_header(path: Path) -> dict[str, Any]:
    """The header of a file, if the seal is whole; the tensors are looked at and not kept.

    Raises:
        Broken: it is not as it was written.
        OSError: it cannot be read.
    """
    checksum, offset = _compute_checksum(path)
    with open(path, "rb") as file:
        header_length = int.from_bytes(file.read(8), "little")
        header_bytes = file.read(header_length)
    if header_bytes[offset - 8 : offset - 8 + len(_BLANK_CHECKSUM)].decode("ascii", "replace") != checksum:
        raise CorruptFileError("its checksum does not match")
    header: dict[str, Any] = json.loads(json.loads(header_bytes)["__metadata__"][_METADATA_KEY])
    del header["sha256"]
    return header


def read_checksum(path: Path) -> str:
    """The checksum that a file carries, in hex, whether it is right or not: it tells one version from another at once.

    Raises:
        Broken: there is no place for one in it.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        length_bytes = file.read(8)
        match = _CHECKSUM_PATTERN.search(file.read(min(int.from_bytes(length_bytes, "little"), path.stat().st_size)))
    if match is None:
        raise CorruptFileError("it has no checksum")
    return match.group(1).decode()


def _to_os_error(cause: SafetensorError) -> OSError:
    """The system's own error, whose number stands only in the text of this one."""
    error_number = re.search(r"\(os error (\d+)\)", str(cause))
    return (
        OSError(int(error_number[1]), os.strerror(int(error_number[1])))
        if error_number and os.name != "nt"
        else OSError(str(cause))
    )


def _compute_checksum(path: Path) -> tuple[str, int]:
    """SHA-256 of a file as if its seal were zeros, in hex, and the byte at which the seal stands.

    Raises:
        Broken: there is no place for a seal in it.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        length_bytes = file.read(8)
        header_length = int.from_bytes(length_bytes, "little")
        if len(length_bytes) < 8 or header_length > size - 8:
            raise CorruptFileError("it is cut short")
        header_bytes = file.read(header_length)
        match = _CHECKSUM_PATTERN.search(header_bytes)
        if match is None:
            raise CorruptFileError("it has no checksum")
        digest = hashlib.sha256(length_bytes)
        digest.update(header_bytes[: match.start(1)] + _BLANK_CHECKSUM.encode() + header_bytes[match.end(1) :])
        while chunk := file.read(_READ_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest(), 8 + match.start(1)
