"""Safetensors files with a JSON header and a checksum: a file in which any bit has changed is detected as corrupt.

The checksum is the SHA-256 of the whole file with zeros in the checksum's own place.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ftlab.core import file_io

_METADATA_KEY = "ftlab"
"""Key of our header within the metadata of safetensors, whose values must be strings."""
_BLANK_CHECKSUM = "0" * 64
_CHECKSUM_PATTERN = re.compile(rb'\\"sha256\\": \\"([0-9a-f]{64})\\"')
"""The checksum in the file's bytes: JSON within a string of the file's own JSON, hence the backslashes."""
_READ_CHUNK_BYTES = 1 << 22
"""Bytes that are hashed at a time (4 MiB): a file may be larger than the memory."""


class CorruptFileError(Exception):
    """Error for a file that is not as it was written; the message says what is wrong, for one line of a log."""


def save_tensors(
    path: Path, tensors: dict[str, Tensor], header: dict[str, Any], backup_path: Path | None = None
) -> None:
    """Write tensors and a JSON header to a file atomically.

    Args:
        path: of the file.
        tensors: of any shapes and dtypes, on any device.
        header: plain JSON.
        backup_path: where an existing file moves; None replaces it.

    Raises:
        OSError: the file cannot be written; the previous one is still in place.
    """  # noqa: DOC502 (`_to_os_error` returns one)
    with file_io.atomic_write(path, backup_path) as temp_path:
        # safetensors refuses tensors that are not contiguous.
        cpu_tensors = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        metadata = {_METADATA_KEY: json.dumps({"sha256": _BLANK_CHECKSUM, **header})}
        write_safetensors(temp_path, cpu_tensors, metadata)
        checksum, offset = _compute_checksum(temp_path)
        # Of the same length as the zeros it replaces, so no offset in the file changes.
        with temp_path.open("rb+") as file:
            file.seek(offset)
            file.write(checksum.encode())


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a plain safetensors file with the permissions of any new file, and leave nothing else when killed.

    safetensors 0.8 writes a hidden file that only its owner may read, and renames it. In a folder of its own, such a
    file is found and removed later (`file_io.remove_stale_parts`).

    Args:
        path: of the file.
        tensors: contiguous, on the CPU.
        metadata: texts by name.

    Raises:
        OSError: the file cannot be written.
    """  # noqa: DOC501, DOC502 (`_to_os_error` returns one)
    with file_io.private_folder(path) as folder:
        new_path = folder / path.name
        # Created here first, to learn the permissions that the system gives to a new file (umask, default ACL).
        new_path.touch()
        new_file_mode = stat.S_IMODE(new_path.stat().st_mode)
        try:
            save_file(tensors, new_path, metadata)
        except SafetensorError as cause:
            raise _to_os_error(cause) from cause
        new_path.chmod(new_file_mode)
        file_io.move_path(new_path, path)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file written by `save_tensors`. A file that cannot be opened gives OSError.

    Args:
        path: of the file.

    Returns:
        The tensors by name, on the CPU, and the header.

    Raises:
        CorruptFileError: it is not as it was written.
    """
    header = read_verified_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, header  # noqa: SIM118 (not a dict)
    except SafetensorError as cause:
        raise CorruptFileError(str(cause).splitlines()[0]) from cause


def read_verified_header(path: Path) -> dict[str, Any]:
    """Read the header of a file and verify its checksum; no tensor is kept.

    A file that cannot be opened gives OSError.

    Args:
        path: of the file.

    Returns:
        The header.

    Raises:
        CorruptFileError: it is not as it was written.
    """
    checksum, offset = _compute_checksum(path)
    with file_io.open_regular_file(path) as file:
        # The format: eight bytes of the JSON header's length, the JSON header, the tensors.
        header_length = int.from_bytes(file.read(8), "little")
        header_bytes = file.read(header_length)
    if header_bytes[offset - 8 : offset - 8 + len(_BLANK_CHECKSUM)].decode("ascii", "replace") != checksum:
        raise CorruptFileError("its checksum does not match")
    header: dict[str, Any] = json.loads(json.loads(header_bytes)["__metadata__"][_METADATA_KEY])
    del header["sha256"]
    return header


def read_checksum(path: Path) -> str:
    """Read the checksum stored in a file without verifying it: it identifies a version of the weights at once.

    A file that cannot be opened gives OSError.

    Args:
        path: of the file.

    Returns:
        The checksum, 64 hex digits.

    Raises:
        CorruptFileError: the file stores none.
    """
    with file_io.open_regular_file(path) as file:
        length_bytes = file.read(8)
        # A damaged length may be anything up to 2^64: never read more than the file has.
        match = _CHECKSUM_PATTERN.search(file.read(min(int.from_bytes(length_bytes, "little"), path.stat().st_size)))
    if match is None:
        raise CorruptFileError("it has no checksum")
    return match.group(1).decode()


def _to_os_error(cause: SafetensorError) -> OSError:
    """Return the operating system's error, whose number safetensors reports in its message only."""
    # A person is told "No space left on device" as for any other file.
    error_number = re.search(r"\(os error (\d+)\)", str(cause))
    return (
        OSError(int(error_number[1]), os.strerror(int(error_number[1])))
        # On Windows the number is a code of its own, not an `errno`.
        if error_number and os.name != "nt"
        else OSError(str(cause))
    )


def _compute_checksum(path: Path) -> tuple[str, int]:
    """Hash a file as if its checksum were zeros.

    Args:
        path: of the file.

    Returns:
        SHA-256 in hex, and the offset in bytes at which the checksum is stored.

    Raises:
        CorruptFileError: the file is cut short, or has no place for a checksum.
    """
    size = path.stat().st_size
    with file_io.open_regular_file(path) as file:
        length_bytes = file.read(8)
        header_length = int.from_bytes(length_bytes, "little")
        if len(length_bytes) < 8 or header_length > size - 8:
            raise CorruptFileError("it is cut short")
        header_bytes = file.read(header_length)
        match = _CHECKSUM_PATTERN.search(header_bytes)
        if match is None:
            raise CorruptFileError("it has no checksum")
        # Zeros take the checksum's place, as when it was computed.
        digest = hashlib.sha256(length_bytes)
        digest.update(header_bytes[: match.start(1)] + _BLANK_CHECKSUM.encode() + header_bytes[match.end(1) :])
        while chunk := file.read(_READ_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest(), 8 + match.start(1)
