"""The data sets of tutorials: fetched once, checked, unpacked into a folder that is whole or not there. No torch.

A download that breaks off goes on where it was. Where there is no network, the file can be put by hand where the
download would have put it, and is taken from there.
"""

from __future__ import annotations

import hashlib
import shutil
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ftlab.core import user_dirs
from ftlab.core.errors import DataError
from ftlab.data.sources import archive, download

Progress = Callable[[str, int, int], None]
"""Told what is done (`fetch`, `check`, `unpack`), how much of it (bytes; files in `unpack`), and of how much."""

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One data set.

    Attributes:
        name: on the command line, and of its folder.
        title: for people.
        pictures: what is in it, in a few words.
        source: who made it, or who teaches with it.
        page: where that can be read.
        url: address of the file.
        file: its name on the disk.
        megabytes: its size for people, 10^6 bytes.
        bytes: its size, where it is known; 0 else.
        sha1, md5: in hex, where the source states one.
        inside: entry of that file that holds the pictures, where it is an archive in an archive.
        skip: names of files and folders that are left out.
        terms: under which it may be used, in the source's words as far as it has any.
    """

    name: str
    title: str
    pictures: str
    source: str
    page: str
    url: str
    file: str
    megabytes: int
    bytes: int = 0
    sha1: str = ""
    md5: str = ""
    inside: str = ""
    skip: tuple[str, ...] = ()
    terms: str


def _table() -> dict[str, DataSet]:
    with open(Path(__file__).with_suffix(".toml"), "rb") as file:
        rows: dict[str, dict[str, Any]] = tomllib.load(file)
    return {name: DataSet(name=name, **{**row, "skip": tuple(row.get("skip", ()))}) for name, row in rows.items()}


TABLE: dict[str, DataSet] = _table()
"""The data sets, by name, in the order of the menu."""


def get(name: str) -> DataSet:
    """The data set of that name.

    Raises:
        DataError: there is none.
    """
    if name not in TABLE:
        raise DataError("fetch.unknown", name=name, names=", ".join(TABLE))
    return TABLE[name]


def home(row: DataSet, root: Path | None = None) -> Path:
    """The folder of a data set: below `root`, else below `FTLAB_HOME/data`."""
    return (root or user_dirs.home() / "data").absolute() / row.name


def by_hand(row: DataSet) -> Path:
    """Where the file is put, by the download or by a person."""
    return user_dirs.home() / "downloads" / row.file


def find(row: DataSet, root: Path | None = None) -> Path | None:
    """The folder of pictures, None while it is not there."""
    try:
        return archive.content(home(row, root))
    except DataError:
        return None


def fetch(row: DataSet, root: Path | None = None, progress: Progress | None = None) -> Path:
    """The folder of a data set's pictures; downloaded and unpacked when it is not there.

    Args:
        row: of `TABLE`.
        root: where its folder is made.
        progress: called now and then in this thread.

    Raises:
        DataError: it is not to be had, is not the file that was published, or there is no room. What was downloaded
            so far is kept for the next time; of the folder nothing is there.
    """
    tell = progress or (lambda *_: None)
    found = find(row, root)
    if found:
        return found
    file = by_hand(row)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # One process at a time: two would write into the same half file.
        with FileLock(file.with_name(f".{file.name}.lock"), timeout=download.PATIENCE):
            found = find(row, root)
            if found:
                return found
            put = file.is_file()
            if not put:
                _download(row, file, tell)
            _check(row, file, tell, put)
            _unpack(row, file, home(row, root), tell)
            if not put:
                file.unlink()
    except Timeout as cause:
        raise DataError("fetch.busy", title=row.title) from cause
    except OSError as cause:
        raise DataError("fetch.write", folder=file.parent, cause=cause.strerror or cause) from cause
    return archive.content(home(row, root))


def _download(row: DataSet, file: Path, tell: Progress) -> None:
    size = row.bytes or round(row.megabytes * 1e6)
    if shutil.disk_usage(file.parent).free < 3 * size:  # the file, what is in it, and some air
        raise DataError("fetch.room", title=row.title, folder=file.parent, megabytes=3 * size // 1_000_000)
    try:
        download.get(row.url, file, row.bytes, lambda done, total: tell("fetch", done, total or size))
    except download.Failed as cause:
        raise DataError(
            "fetch.failed", title=row.title, cause=cause, megabytes=row.megabytes, url=row.url, file=file
        ) from cause


def _check(row: DataSet, file: Path, tell: Progress, put: bool) -> None:
    """Whether it is the file that was published. One that was downloaded and is another one is removed."""
    wrong = _wrong(row, file, tell)
    if not wrong:
        return
    if not put:
        file.unlink()
    raise DataError(
        "fetch.other_by_hand" if put else "fetch.other", file=file, title=row.title, url=row.url, what=wrong
    )


def _wrong(row: DataSet, file: Path, tell: Progress) -> str:
    size = file.stat().st_size
    if row.bytes and size != row.bytes:
        return f"{size:,} bytes, not {row.bytes:,}"
    for kind, wanted in (("sha1", row.sha1), ("md5", row.md5)):
        if not wanted:
            continue
        digest = hashlib.new(kind, usedforsecurity=False)
        with open(file, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                tell("check", stream.tell(), size)
        if digest.hexdigest() != wanted:
            return f"{kind.upper()} {digest.hexdigest()}, not {wanted}"
    return ""


def _unpack(row: DataSet, file: Path, place: Path, tell: Progress) -> None:
    inner = _inner(row, file) if row.inside else file
    try:
        archive.unpack(
            inner,
            place,
            name=row.name,
            skip=row.skip,
            progress=lambda done, total: tell("unpack", done, total),
        )
    finally:
        if inner != file:
            inner.unlink(missing_ok=True)


def _inner(row: DataSet, file: Path) -> Path:
    """The archive in the archive, beside it."""
    target = file.with_name(f".{file.stem}-{row.inside.rpartition('/')[2]}")
    try:
        with zipfile.ZipFile(file) as outer, outer.open(row.inside) as stream, open(target, "wb") as out:
            shutil.copyfileobj(stream, out, _CHUNK)
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError) as cause:
        target.unlink(missing_ok=True)
        raise DataError("archive.damaged", file=file.name, cause=str(cause)) from cause
    return target
