"""Data sets of tutorials: downloaded once, verified, unpacked into a folder completely or not at all. No torch.

An interrupted download is resumed. Without a network, the file can be placed by hand where the download would have put
it, and is used from there.
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
"""Called with the stage (`fetch`, `check`, `unpack`), the amount done and the total (bytes; files in `unpack`)."""

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class TutorialDataset:
    """A data set that a tutorial uses.

    Attributes:
        name: name on the command line and of its folder.
        title: name for people.
        pictures: its content in a few words.
        source: who made it, or who teaches with it.
        page: address of the source's page.
        url: address of the file.
        file: name of the file on the disk.
        megabytes: approximate size of the file in 10^6 bytes, for people.
        bytes: exact size of the file, where it is known; else 0.
        sha1: checksum in hex, where the source states one.
        md5: checksum in hex, where the source states one.
        inside: entry of the file that contains the images, where it is an archive in an archive.
        skip: names of files and folders that are left out.
        terms: terms of use, in the source's words as far as it has any.
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
    """Return the data sets of `tutorial_datasets.toml`, by name."""
    with Path(__file__).with_suffix(".toml").open("rb") as file:
        rows: dict[str, dict[str, Any]] = tomllib.load(file)
    return {
        name: TutorialDataset(name=name, **{**row, "skip": tuple(row.get("skip", ()))}) for name, row in rows.items()
    }


DATASETS: dict[str, TutorialDataset] = _load_table()
"""Data sets by name, in the order of the menu."""


def get_dataset(name: str) -> TutorialDataset:
    """Return the data set of a name.

    Args:
        name: key of `DATASETS`.

    Returns:
        The data set.

    Raises:
        DataError: there is no data set of that name.
    """
    if name not in DATASETS:
        raise DataError("fetch.unknown", name=name, names=", ".join(DATASETS))
    return DATASETS[name]


def get_unpack_folder(dataset: TutorialDataset, root: Path | None = None) -> Path:
    """Return the folder of a data set, in `root` or else in `FTLAB_HOME/data`; it need not exist."""
    return (root or user_dirs.get_ftlab_home() / "data").absolute() / dataset.name


def get_download_path(dataset: TutorialDataset) -> Path:
    """Return where the file is expected, downloaded or placed by hand."""
    return user_dirs.get_ftlab_home() / "downloads" / dataset.file


def find_image_folder(dataset: TutorialDataset, root: Path | None = None) -> Path | None:
    """Return the folder of images, or None if the data set is not unpacked yet."""
    try:
        return archive.find_image_folder(get_unpack_folder(dataset, root))
    except DataError:
        return None


def fetch_dataset(dataset: TutorialDataset, root: Path | None = None, progress: FetchProgress | None = None) -> Path:
    """Return the folder of a data set's images, downloaded and unpacked if it does not exist yet.

    Args:
        dataset: a value of `DATASETS`.
        root: folder in which its folder is made; None: `FTLAB_HOME/data`.
        progress: called from time to time in this thread.

    Returns:
        The folder of images.

    Raises:
        DataError: the download fails, the file is not the published one, or there is no space. Received bytes are kept
            for the next call; no part of the folder is left.
    """
    report_progress = progress or (lambda *_: None)
    image_folder = find_image_folder(dataset, root)
    if image_folder:
        return image_folder
    file = get_download_path(dataset)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # One process at a time: two would write into the same partial file.
        with FileLock(file.with_name(f".{file.name}.lock"), timeout=download.TIMEOUT_SECONDS):
            # Another process may have finished it while this one waited for the lock.
            image_folder = find_image_folder(dataset, root)
            if image_folder:
                return image_folder
            is_manual = file.is_file()
            if not is_manual:
                _download_archive(dataset, file, report_progress)
            _verify_download(dataset, file, report_progress, is_manual=is_manual)
            _unpack_download(dataset, file, get_unpack_folder(dataset, root), report_progress)
            if not is_manual:
                file.unlink()
    except Timeout as cause:
        raise DataError("fetch.busy", title=dataset.title) from cause
    except OSError as cause:
        raise DataError("fetch.write", folder=file.parent, cause=cause.strerror or cause) from cause
    return archive.find_image_folder(get_unpack_folder(dataset, root))


def _download_archive(dataset: TutorialDataset, file: Path, report_progress: FetchProgress) -> None:
    """Download the file of a data set.

    Args:
        dataset: the data set.
        file: where to put it.
        report_progress: called with received and expected bytes.

    Raises:
        DataError: there is no space, or the download fails.
    """
    size_bytes = dataset.bytes or round(dataset.megabytes * 1e6)
    if shutil.disk_usage(file.parent).free < 3 * size_bytes:  # the file, its content, and a reserve
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


def _verify_download(dataset: TutorialDataset, file: Path, report_progress: FetchProgress, *, is_manual: bool) -> None:
    """Check that a file is the published one; a downloaded file that is not is deleted, one placed by hand is kept.

    Args:
        dataset: the data set.
        file: the file.
        report_progress: called with hashed and total bytes.
        is_manual: the file was placed by hand.

    Raises:
        DataError: the file is another one.
    """
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
    """Return how a file differs from the published one in size or checksum; "" if it does not."""
    size_bytes = file.stat().st_size
    if dataset.bytes and size_bytes != dataset.bytes:
        return f"{size_bytes:,} bytes, not {dataset.bytes:,}"
    for algorithm, expected in (("sha1", dataset.sha1), ("md5", dataset.md5)):
        if not expected:
            continue
        # These are the checksums that the sources publish; systems in FIPS mode allow them only for such a use.
        digest = hashlib.new(algorithm, usedforsecurity=False)
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
                report_progress("check", stream.tell(), size_bytes)
        if digest.hexdigest() != expected:
            return f"{algorithm.upper()} {digest.hexdigest()}, not {expected}"
    return ""


def _unpack_download(dataset: TutorialDataset, file: Path, unpack_folder: Path, report_progress: FetchProgress) -> None:
    """Unpack the images of a downloaded file, also from an archive inside the archive."""
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
    """Extract the inner archive next to the outer one.

    Args:
        dataset: its `inside` names the entry.
        file: the outer archive.

    Returns:
        The inner archive; the caller deletes it.

    Raises:
        DataError: the outer archive is damaged or has no such entry.
    """
    target = file.with_name(f".{file.stem}-{dataset.inside.rpartition('/')[2]}")
    try:
        with zipfile.ZipFile(file) as outer, outer.open(dataset.inside) as stream, target.open("wb") as output:
            shutil.copyfileobj(stream, output, _CHUNK_BYTES)
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError) as cause:
        target.unlink(missing_ok=True)
        raise DataError("archive.damaged", file=file.name, cause=str(cause)) from cause
    return target
