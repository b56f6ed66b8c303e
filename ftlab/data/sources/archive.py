"""A zip or a tar file → a folder of its pictures, whole or not at all, within limits counted while writing. No torch.

A stranger's archive is data, never a set of orders: every name is checked, links and the like are refused, nothing is
taken from a header's word. What a file system here or elsewhere would not hold (`CON`, `a:b`, a newline, a trailing
dot) is written with `_` in its place, so that one archive gives the same classes on every system.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path
from typing import Any

from ftlab.core import user_dirs
from ftlab.core.errors import DataError
from ftlab.data.sources import tar_file, zip_file
from ftlab.data.sources.archive_entries import Entry, Limits, Refused, plan
from ftlab.data.sources.listing import Problem
from ftlab.data.sources.tar_file import Tar
from ftlab.data.sources.zip_file import Zip

__all__ = ["SUFFIXES", "Limits", "Progress", "content", "ensure", "is_archive", "left_out", "unpack"]

SUFFIXES = (*zip_file.SUFFIXES, *tar_file.SUFFIXES)
"""Endings of what can be unpacked."""

Progress = Callable[[int, int], None]
"""Told how many files are unpacked, and how many there are."""

_REPORT = ".ftlab-archive.json"


def is_archive(path: Path) -> bool:
    """Whether a path names an archive, by its ending: what it is, its content decides when it is unpacked."""
    return path.name.lower().endswith(SUFFIXES)


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
    home = user_dirs.home() / "archives" / key
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
    skip: Collection[str] = (),
    progress: Progress | None = None,
) -> Path:
    """Unpack the pictures of a zip, and the lists at its top, into a new folder, which appears whole or not at all.

    Args:
        file: the zip.
        home: the folder to make; it holds the folder of pictures, and a report of what was left out.
        limits: what is too much.
        name: of the folder of pictures; None: the zip's.
        skip: names of files and folders that are left out, wherever they lie.
        progress: called with files written and files in all.

    Returns:
        The folder of pictures.

    Raises:
        DataError: the zip is none, is damaged, goes beyond the limits, or holds something that must not be unpacked.
            The line names the entry. Nothing is left behind.
    """
    limits = limits or Limits()
    try:
        tar = file.name.lower().endswith(tar_file.SUFFIXES)
        with (tar_file if tar else zip_file).opened(file, limits) as archive, user_dirs.fresh(home) as draft:
            wanted = plan(archive.members(), skip)
            report = {**wanted.report(), "folder": wanted.folder(name or _stem(file))}
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


def _fits(files: list[Entry], file: Path, limits: Limits, draft: Path) -> None:
    """Refuse at once what the zip itself says is too much. It may lie: `_write` counts."""
    if not files:
        raise Refused("no_pictures")
    said = sum(entry.member.size for entry in files)
    if said > limits.bytes:
        raise Refused("large", limit=_size(limits.bytes))
    if said + limits.reserve > shutil.disk_usage(draft).free:
        raise Refused("space", cause=os.strerror(errno.ENOSPC))
    _in_ratio(said, file, limits)


def _in_ratio(total: int, file: Path, limits: Limits) -> None:
    if total > 100_000_000 and total > limits.ratio * file.stat().st_size:
        raise Refused("bomb", ratio=limits.ratio)


def _write(
    archive: Zip | Tar,
    files: list[Entry],
    place: Path,
    file: Path,
    limits: Limits,
    draft: Path,
    progress: Progress | None,
) -> None:
    total = 0
    done = 0
    for done, (entry, chunks) in enumerate(archive.contents(files), 1):
        target = place.joinpath(*entry.path.split("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with open(target, "xb") as out:
            for chunk in chunks:
                written += len(chunk)
                total += len(chunk)
                if total > limits.bytes:
                    raise Refused("large", limit=_size(limits.bytes))
                _in_ratio(total, file, limits)
                out.write(chunk)
        if written != entry.member.size:
            raise Refused("lies", entry=entry.member.name)
        if done % 256 == 0:
            os.utime(draft)  # still at work
        if progress:
            progress(done, len(files))


def _stem(file: Path) -> str:
    """The name of an archive without its ending."""
    ending = next((one for one in SUFFIXES if file.name.lower().endswith(one)), "")
    return file.name[: len(file.name) - len(ending)]


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
