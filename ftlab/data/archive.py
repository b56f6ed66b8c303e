"""A zip → a folder of its pictures, whole or not at all, within limits that are counted while writing. No torch.

A stranger's zip is data, never a set of orders: every name is checked, links and the like are refused, nothing is
taken from a header's word. What a file system here or elsewhere would not hold (`CON`, `a:b`, a newline, a trailing
dot) is written with `_` in its place, so that one zip gives the same classes on every system.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ftlab import places
from ftlab.data.entries import Entry, Refused, plan
from ftlab.data.listing import Problem
from ftlab.errors import DataError

SUFFIXES = frozenset((".zip",))

Progress = Callable[[int, int], None]
"""Told how many files are unpacked, and how many there are."""

_CHUNK = 1 << 20
_REPORT = ".ftlab-archive.json"
_SIGNATURE = b"PK\x01\x02"


@dataclass(frozen=True)
class Limits:
    """How much a zip may hold.

    Attributes:
        entries: files and folders, of any kind.
        bytes: of all files that are unpacked, together.
        ratio: of those bytes to the size of the zip; counts above 100 MB only, for a small drawing can shrink a lot.
        reserve: bytes that stay free on the disk.
    """

    entries: int = 1_000_000
    bytes: int = 1 << 40
    ratio: int = 200
    reserve: int = 1 << 30


def is_archive(path: Path) -> bool:
    """Whether a path names a zip, by its ending: what it is, its content decides when it is unpacked."""
    return path.suffix.lower() in SUFFIXES


def ensure(file: Path, progress: Progress | None = None) -> Path:
    """The folder of a zip's pictures in `FTLAB_HOME`, unpacked when it is not there; the same content is there once.

    Raises:
        DataError: as `unpack`.
    """
    try:
        facts = file.stat()
        key = _key(file.resolve(), facts.st_size, facts.st_mtime_ns)
    except OSError as cause:
        raise DataError("archive.unreadable", file=file, cause=cause.strerror or cause) from cause
    home = places.home() / "archives" / key
    return content(home) if home.is_dir() else unpack(file, home, progress=progress)


def content(home: Path) -> Path:
    """Where the pictures are in a folder that `unpack` made.

    Raises:
        DataError: it is none, or was damaged.
    """
    name = _read(home / _REPORT).get("folder")
    if not isinstance(name, str):
        raise DataError("data.missing", folder=home)
    return home / name


def unpack(
    file: Path,
    home: Path,
    limits: Limits | None = None,
    *,
    name: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Unpack the pictures of a zip, and the lists at its top, into a new folder, which appears whole or not at all.

    Args:
        file: the zip.
        home: the folder to make; it holds the folder of pictures, and a report of what was left out.
        limits: what is too much.
        name: of the folder of pictures; None: the zip's.
        progress: called with files written and files in all.

    Returns:
        The folder of pictures.

    Raises:
        DataError: the zip is none, is damaged, goes beyond the limits, or holds something that must not be unpacked.
            The line names the entry. Nothing is left behind.
    """
    limits = limits or Limits()
    try:
        with _opened(file, limits) as archive, places.fresh(home) as draft:
            wanted = plan(archive)
            report = {**wanted.report(), "folder": wanted.folder(name or file.stem)}
            _fits(wanted.files, file, limits, draft)
            place = draft / report["folder"]
            place.mkdir()
            _write(archive, wanted.files, place, file, limits, draft, progress)
            (draft / _REPORT).write_text(json.dumps(report), encoding="utf-8")
    except Refused as refusal:
        raise DataError(f"archive.{refusal.code}", file=file.name, **refusal.values) from refusal
    except (OSError, MemoryError) as cause:
        full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
        raise DataError(
            "archive.space" if full else "archive.unreadable", file=file.name, cause=_said(cause)
        ) from cause
    return content(home)


def left_out(folder: Path) -> list[Problem]:
    """What of a zip was not unpacked, or under another name, when `folder` lies in one that `unpack` made; else none.

    Args:
        folder: the folder of pictures, or the one in it that wraps them.
    """
    for place in (folder, *folder.parents[:3]):
        stored = _read(place.parent / _REPORT)
        if stored.get("folder") == place.name:
            inner = folder.relative_to(place).as_posix() + "/"
            rows = [Problem(one["file"], one["code"], one["values"]) for one in stored["problems"]]
            shift = "" if inner == "./" else inner
            return [Problem(one.file.removeprefix(shift), one.code, one.values) for one in rows]
    return []


@contextmanager
def _opened(file: Path, limits: Limits) -> Iterator[zipfile.ZipFile]:
    with _Listed(file, limits.entries) as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except UnicodeDecodeError as cause:
            raise Refused("names") from cause
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as cause:
            raise Refused("damaged", cause=_said(cause)) from cause
        with archive:
            yield archive


class _Listed(io.FileIO):
    """A zip that refuses to be listed when it has too many entries: before the list, a kilobyte each, is made."""

    def __init__(self, file: Path, limit: int) -> None:
        super().__init__(file, "rb")
        self.limit = limit

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size)
        # The list of a zip is read in one go, whatever its head says of the number.
        if data.count(_SIGNATURE) > self.limit:
            raise Refused("many", limit=self.limit)
        return data


def _fits(files: list[Entry], file: Path, limits: Limits, draft: Path) -> None:
    """Refuse at once what the zip itself says is too much. It may lie: `_write` counts."""
    if not files:
        raise Refused("no_pictures")
    said = sum(entry.info.file_size for entry in files)
    if said > limits.bytes:
        raise Refused("large", limit=_size(limits.bytes))
    if said + limits.reserve > shutil.disk_usage(draft).free:
        raise Refused("space", cause=os.strerror(errno.ENOSPC))
    _in_ratio(said, file, limits)


def _in_ratio(total: int, file: Path, limits: Limits) -> None:
    if total > 100_000_000 and total > limits.ratio * file.stat().st_size:
        raise Refused("bomb", ratio=limits.ratio)


def _write(
    archive: zipfile.ZipFile,
    files: list[Entry],
    place: Path,
    file: Path,
    limits: Limits,
    draft: Path,
    progress: Progress | None,
) -> None:
    total = 0
    for done, entry in enumerate(files, 1):
        target = place.joinpath(*entry.path.split("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with open(target, "xb") as out:
            for chunk in _chunks(archive, entry):
                written += len(chunk)
                total += len(chunk)
                if total > limits.bytes:
                    raise Refused("large", limit=_size(limits.bytes))
                _in_ratio(total, file, limits)
                out.write(chunk)
        if written != entry.info.file_size:
            raise Refused("lies", entry=entry.info.filename)
        if done % 256 == 0:
            os.utime(draft)  # still at work
        if progress:
            progress(done, len(files))


def _chunks(archive: zipfile.ZipFile, entry: Entry) -> Iterator[bytes]:
    try:
        with archive.open(entry.info) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as cause:
        raise Refused("entry", entry=entry.info.filename, cause=_said(cause)) from cause


def _read(report: Path) -> dict[str, Any]:
    try:
        stored = json.loads(report.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


@lru_cache(maxsize=64)
def _key(file: Path, _size: int, _changed: int) -> str:
    """SHA-256 of the content, in hex, 128 bits of it: enough to tell zips apart."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]


def _said(cause: BaseException) -> str:
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__).rstrip(".")


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
