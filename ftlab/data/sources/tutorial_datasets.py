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

FetchProgress = Callable[[str, int, int], None]
"""Told what is done (`fetch`, `check`, `unpack`), how much of it (bytes; files in `unpack`), and of how much."""

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class TutorialDataset:
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


def _load_table() -> dict[str, TutorialDataset]:
    with open(Path(__file__).with_suffix(".toml"), "rb") as file:
        rows: dict[str, dict[str, Any]] = tomllib.load(file)
    return {
        name: TutorialDataset(name=name, **{**row, "skip": tuple(row.get("skip", ()))}) for name, row in rows.items()
    }


DATASETS: dict[str, TutorialDataset] = _load_table()
"""The data sets, by name, in the order of the menu."""


def get_dataset(name: str) -> TutorialDataset:
    """The data set of that name.

    Raises:
        DataError: there is none.
    """
    if name not in DATASETS:
        raise DataError("fetch.unknown", name=name, names=", ".join(DATASETS))
    return DATASETS[name]


def get_unpack_folder(dataset: TutorialDataset, root: Path | None = None) -> Path:
    """The folder of a data set: below `root`, else below `FTLAB_HOME/data`."""
    return (root or user_dirs.get_ftlab_home() / "data").absolute() / dataset.name


def get_download_path(dataset: TutorialDataset) -> Path:
    """Where the file is put, by the download or by a person."""
    return user_dirs.get_ftlab_home() / "downloads" / dataset.file


def find_image_folder(dataset: TutorialDataset, root: Path | None = None) -> Path | None:
    """The folder of pictures, None while it is not there."""
    try:
        return archive.find_image_folder(get_unpack_folder(dataset, root))
    except DataError:
        return None


def fetch_dataset(dataset: TutorialDataset, root: Path | None = None, progress: FetchProgress | None = None) -> Path:
    """The folder of a data set's pictures; downloaded and unpacked when it is not there.

    Args:
        dataset: of `DATASETS`.
        root: where its folder is made.
        progress: called now and then in this thread.

    Raises:
        DataError: it is not to be had, is not the file that was published, or there is no room. What was downloaded
            so far is kept for the next time; of the folder nothing is there.
    """
    report_progress = progress or (lambda *_: None)
    image_folder = find_image_folder(dataset, root)
    if image_folder:
        return image_folder
    file = get_download_path(dataset)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # One process at a time: two would write into the same half file.
        with FileLock(file.with_name(f".{file.name}.lock"), timeout=download.TIMEOUT_SECONDS):
            image_folder = find_image_folder(dataset, root)
            if image_folder:
                return image_folder
            is_manual = file.is_file()
            if not is_manual:
                _download_archive(dataset, file, report_progress)
            _verify_download(dataset, file, report_progress, is_manual)
            _unpack_download(dataset, file, get_unpack_folder(dataset, root), report_progress)
            if not is_manual:
                file.unlink()
    except Timeout as cause:
        raise DataError("fetch.busy", title=dataset.title) from cause
    except OSError as cause:
        raise DataError("fetch.write", folder=file.parent, cause=cause.strerror or cause) from cause
    return archive.find_image_folder(get_unpack_folder(dataset, root))


def _download_archive(dataset: TutorialDataset, file: Path, report_progress: FetchProgress) -> None:
    size_bytes = dataset.bytes or round(dataset.megabytes * 1e6)
    if shutil.disk_usage(file.parent).free < 3 * size_bytes:  # the file, what is in it, and some air
        raise DataError("fetch.room", title=dataset.title, folder=file.parent, megabytes=3 * size_bytes // 1_000_000)
    try:
        download.download_file(
            dataset.url,
            file,
            dataset.bytes,
            lambda received_bytes, total_bytes: report_progress("fetch", received_bytes, total_bytes or size_bytes),
        )
    except download.DownloadError as cause:
        raise DataError(
            "fetch.failed", title=dataset.title, cause=cause, megabytes=dataset.megabytes, url=dataset.url, file=file
        ) from cause


def _verify_download(dataset: TutorialDataset, file: Path, report_progress: FetchProgress, is_manual: bool) -> None:
    """Whether it is the file that was published. One that was downloaded and is another one is removed."""
    mismatch = _describe_mismatch(dataset, file, report_progress)
    if not mismatch:
        return
    if not is_manual:
        file.unlink()
    raise DataError(
        "fetch.other_by_hand" if is_manual else "fetch.other",
        file=file,
        title=dataset.title,
        url=dataset.url,
        what=mismatch,
    )


def _describe_mismatch(dataset: TutorialDataset, file: Path, report_progress: FetchProgress) -> str:
    size_bytes = file.stat().st_size
    if dataset.bytes and size_bytes != dataset.bytes:
        return f"{size_bytes:,} bytes, not {dataset.bytes:,}"
    for algorithm, expected in (("sha1", dataset.sha1), ("md5", dataset.md5)):
        if not expected:
            continue
        digest = hashlib.new(algorithm, usedforsecurity=False)
        with open(file, "rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
                report_progress("check", stream.tell(), size_bytes)
        if digest.hexdigest() != expected:
            return f"{algorithm.upper()} {digest.hexdigest()}, not {expected}"
    return ""


def _unpack_download(dataset: TutorialDataset, file: Path, unpack_folder: Path, report_progress: FetchProgress) -> None:
    archive_file = _extract_inner_archive(dataset, file) if dataset.inside else file
    try:
        archive.unpack_archive(
            archive_file,
            unpack_folder,
            folder_name=dataset.name,
            skip_names=dataset.skip,
            progress=lambda file_count, total: report_progress("unpack", file_count, total),
        )
    finally:
        if archive_file != file:
            archive_file.unlink(missing_ok=True)


def _extract_inner_archive(dataset: TutorialDataset, file: Path) -> Path:
    """The archive in the archive, beside it."""
    target = file.with_name(f".{file.stem}-{dataset.inside.rpartition('/')[2]}")
    try:
        with zipfile.ZipFile(file) as outer, outer.open(dataset.inside) as stream, open(target, "wb") as output:
            shutil.copyfileobj(stream, output, _CHUNK_BYTES)
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError) as cause:
        target.unlink(missing_ok=True)
        raise DataError("archive.damaged", file=file.name, cause=str(cause)) from cause
    return target
