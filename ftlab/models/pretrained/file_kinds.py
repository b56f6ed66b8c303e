"""Kinds of files that people give as weights, told by their content: the suffix of a download is often wrong. No torch.

A web page saved as `.pth`, a Git LFS pointer, a Keras or ONNX model, an archive: each is named as what it is, with what
to do about it. Nothing in a file is run.
"""

from __future__ import annotations

import json
import lzma
import re
import tarfile
import zipfile
import zlib
from collections import Counter
from pathlib import Path

from ftlab.core import content_kinds, file_io, shell
from ftlab.core.errors import WeightsError

SAFETENSORS, TORCH_ZIP, TORCH_LEGACY = "safetensors", "torch_zip", "torch_legacy"
READABLE_KINDS = frozenset((SAFETENSORS, TORCH_ZIP, TORCH_LEGACY))
"""Kinds whose tensors are read."""
TORCHSCRIPT, DAMAGED, UNKNOWN = "script", "damaged", "unknown"

_MAX_EXCERPT_CHARS = 40
_CHUNK_BYTES = 1 << 20
_TORCH_LEGACY_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")
"""The pickled number with which `torch.save` began a file before version 1.6."""
_TENSORFLOW_MAGIC = bytes.fromhex("57fb808b247547db")
"""The last bytes of a TensorFlow checkpoint, little-endian or big-endian alike read backwards."""
_KINDS_BY_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", "keras"),
    (b"GGUF", "gguf"),
    (b"\x93NUMPY", "numpy"),
)
_ONNX_PATTERN = re.compile(rb"\x08[\x01-\x1f](?:\x12.[\w .+-]{2}|\x3a|\x42)", re.DOTALL)
"""Beginning of an ONNX model: its version, then the name of its producer, its graph or its operator set."""
LOAD_EXPRESSION = 'torch.load(sys.argv[1], map_location="cpu", weights_only=False)'
"""Python expression that loads a file of torch, running the code in it."""
_SAVE_CODE = 'torch.save(s.get("state_dict", s), sys.argv[2])'
_CONVERSIONS = {
    "old_tar": LOAD_EXPRESSION,
    "numpy": '{k: torch.from_numpy(v) for k, v in __import__("numpy").load(sys.argv[1]).items()}',
}
"""Python expressions that load the weights of kinds which are not read here."""
_COMPRESSIONS = ("gzip", "bzip2", "xz", "Zstandard", "LZ4")
_COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".lz4")
_WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")


def detect_file_kind(file: Path) -> str:
    """Detect what a file is by its content.

    A file that cannot be opened gives OSError.

    Args:
        file: of any name.

    Returns:
        One of `READABLE_KINDS`; `script`, `damaged` or `unknown`; else the key of its sentence below `error.init.is`.
    """
    with file_io.open_regular_file(file) as stream:
        head = stream.read(content_kinds.HEAD_BYTES)
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 8))
        tail = stream.read()
    if not head:
        return DAMAGED
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _detect_zip_kind(file)
    if head[8:9] == b"{" and (head[9:10] in b'"}' or int.from_bytes(head[:8], "little") <= size - 8):
        return SAFETENSORS
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        if _TORCH_LEGACY_MAGIC in head[:32]:
            return TORCH_LEGACY
        return "pickle" if tail.endswith(b".") else DAMAGED  # every pickle ends with this byte
    magic_kind = next((kind for magic, kind in _KINDS_BY_MAGIC if head.startswith(magic)), None)
    if magic_kind:
        return magic_kind
    if archive_format := content_kinds.find_archive_format(head):
        if archive_format == "tar":
            return _detect_tar_kind(file) or DAMAGED
        return "compressed" if _is_compressed_alone(file, archive_format) else "archive"
    if content_kinds.find_image_format(head):
        return "image"
    if tail in (_TENSORFLOW_MAGIC, _TENSORFLOW_MAGIC[::-1]):
        return "tensorflow"
    if head[4:8] == b"TFL3":
        return "tensorflow"
    if _ONNX_PATTERN.match(head):
        return "onnx"
    return content_kinds.find_text_kind(head) or _detect_tar_kind(file) or UNKNOWN


def check_file_kind(file: Path) -> str:
    """Return the kind of a file whose tensors can be read, or raise the error that names what it is instead.

    Args:
        file: of any name.

    Returns:
        One of `READABLE_KINDS`.

    Raises:
        WeightsError: the file is of another kind, or cannot be opened.
    """  # noqa: DOC501 (`make_unsafe_error` returns a WeightsError)
    try:
        kind = detect_file_kind(file)
    except OSError as cause:
        raise WeightsError("init.unreadable", file=file, cause=cause.strerror or cause) from cause
    if kind in READABLE_KINDS:
        return kind
    if kind == TORCHSCRIPT:
        raise make_unsafe_error(file, "a TorchScript program", 'torch.jit.load(sys.argv[1], map_location="cpu")')
    if kind in (DAMAGED, UNKNOWN):
        raise WeightsError("init.damaged", file=file, cause=_describe_damage(file, kind))
    raise WeightsError(
        f"init.is.{kind}",
        file=file,
        excerpt=_read_excerpt(file),
        inner=find_inner_weights(file) or ".pth",
        format=_read_format(file),
        command=format_conversion(_CONVERSIONS[kind], file) if kind in _CONVERSIONS else "",
        unpacked=file.stem if file.suffix.lower() in _COMPRESSED_SUFFIXES else ".pth",
    )


def check_zip_checksums(file: Path) -> None:
    """Refuse a zip file of torch whose entries do not have the checksums that it states; torch compares none.

    Args:
        file: a zip file.

    Raises:
        WeightsError: an entry is damaged.
    """
    damaged_entries: Counter[bool] = Counter()
    first_cause = ""
    try:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                cause = _read_zip_entry(archive, info)
                damaged_entries[bool(cause)] += info.file_size > 0
                first_cause = first_cause or cause
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as cause:
        raise WeightsError("init.damaged", file=file, cause=str(cause).rstrip(".")) from cause
    # torch writes no checksums on request (`set_crc32_options`): then all of them are wrong.
    if damaged_entries[True] and damaged_entries[False]:
        raise WeightsError("init.damaged", file=file, cause=first_cause)


def _read_zip_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """Return what is wrong with the content of an entry of a zip file; empty if it has its checksum."""
    try:
        with archive.open(info) as stream:
            while stream.read(_CHUNK_BYTES):
                pass
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as cause:
        return str(cause).rstrip(".")
    return ""


def make_unsafe_error(file: Path, contents: str, load_expression: str = "", key: str = "") -> WeightsError:
    """Return the error for a file that could be read only by running code, with the command that extracts its weights.

    Args:
        file: the file.
        contents: what it holds, by name.
        load_expression: Python expression that loads the model from `sys.argv[1]`; the default is `torch.load`.
        key: of the model in the file; empty if it is the whole file.

    Returns:
        The error, to be raised by the caller.
    """
    expression = load_expression or LOAD_EXPRESSION
    expression += f"[{json.dumps(key)}]" if key else ""
    return WeightsError("init.unsafe", file=file, what=contents, command=format_conversion(expression, file))


def format_conversion(load_expression: str, file: Path) -> str:
    """Return the command that saves the weights of a file as a checkpoint, quoted for the shell.

    Args:
        load_expression: Python expression that loads a model or its weights from `sys.argv[1]`.
        file: the file.
    """
    code = f"import sys, torch; m = {load_expression}; s = m if isinstance(m, dict) else m.state_dict(); {_SAVE_CODE}"
    return shell.format_command(["python", "-c", code, str(file), str(file.with_name(f"{file.stem}-weights.pth"))])


def _detect_zip_kind(file: Path) -> str:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return DAMAGED
    base_names = {name.rpartition("/")[2] for name in names}
    if "data.pkl" in base_names:
        return TORCHSCRIPT if "constants.pkl" in base_names else TORCH_ZIP
    if "model.weights.h5" in base_names:
        return "keras"
    if any(name.startswith(("archive_format", "models/")) or "/archive_format" in name for name in names):
        return "exported"
    return "numpy" if base_names and all(name.endswith(".npy") for name in base_names) else "archive"


def _detect_tar_kind(file: Path) -> str:
    """Return the kind of an uncompressed tar file; empty for anything else."""
    try:
        with tarfile.open(file, "r:") as archive:
            first_names = {member.name for _, member in zip(range(8), archive, strict=False)}
    except (tarfile.TarError, OSError, EOFError, ValueError):
        return ""
    # Zeros alone are an empty archive to `tarfile`.
    return "old_tar" if {"storages", "pickle"} <= first_names else "archive" if first_names else ""


def _is_compressed_alone(file: Path, archive_format: str) -> bool:
    """Return whether a file is one compressed file, and no archive of several."""
    if archive_format not in _COMPRESSIONS:
        return False
    try:
        return not tarfile.is_tarfile(file)
    # A damaged stream is no tar file either.
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        return True


def _read_format(file: Path) -> str:
    """Return the format of an image, an archive or a compressed file; empty for others."""
    with file.open("rb") as stream:
        head = stream.read(content_kinds.HEAD_BYTES)
    return content_kinds.find_image_format(head) or content_kinds.find_archive_format(head)


def _read_excerpt(file: Path) -> str:
    """Return the first characters of a text file, on one line."""
    with file.open("rb") as stream:
        text = " ".join(stream.read(4 * _MAX_EXCERPT_CHARS).decode("utf-8", "replace").split())
    return text[:_MAX_EXCERPT_CHARS] + (" …" if len(text) > _MAX_EXCERPT_CHARS else "")


def find_inner_weights(file: Path) -> str:
    """Return the name of the first file of weights in a tar or zip archive; empty without one."""
    names: list[str] = []
    try:
        # A tar file first: one that ends with a zip file looks like a zip file too.
        if tarfile.is_tarfile(file):
            with tarfile.open(file) as tar_archive:
                names = [member.name for _, member in zip(range(1000), tar_archive, strict=False)]
        elif zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                names = archive.namelist()
    except (zipfile.BadZipFile, tarfile.TarError, OSError, EOFError, ValueError):
        names = []
    return next((name for name in names if name.lower().endswith(_WEIGHTS_SUFFIXES)), "")


def _describe_damage(file: Path, kind: str) -> str:
    """Return what is wrong with a file that is no checkpoint of any kind."""
    size = file.stat().st_size
    if not size:
        return "it is empty"
    if kind == DAMAGED:
        return f"its end is missing after {size:,} bytes"
    with file.open("rb") as stream:
        return f"it begins with the bytes {stream.read(8).hex(' ')}"
