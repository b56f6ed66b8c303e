"""Everything of a class as one zip, written while it is sent; and what the end of a lesson erases. No torch."""

from __future__ import annotations

import csv
import io
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from ftlab.core import file_io
from ftlab.core.csv_cells import escape_formula
from ftlab.runs import run_notes, run_quota, run_store, trash
from ftlab.runs.directory import Run
from ftlab.runs.liveness import QUEUED_FILE
from ftlab.server.paths import get_visitors_dir
from ftlab.server.people import upload_tokens
from ftlab.server.people.lesson_rules import LessonRules
from ftlab.server.people.membership import Membership

CHUNK_BYTES = 1 << 20
"""Bytes that are read and sent at a time: all that is held in memory of a file."""
_LEFT_OUT_FILES = ("owner", "pid", "heartbeat", "stop", "process.json", QUEUED_FILE)
"""Files of a run that mean nothing elsewhere; by that of the queue, another server would start to train."""
_TEXT_SUFFIXES = frozenset({".json", ".jsonl", ".log", ".txt", ".csv", ".html", ".md"})
"""Files of a run that may name folders of this machine."""
_CHECKED_FILES = ("model.json",)
"""Texts that have to stay as they are: the weights hold their checksum. They name no folder."""
_STORED_SUFFIX = ".safetensors"
"""Weights gain nothing by compression."""

HideFolders = Callable[[bytes], bytes]
"""Function that returns a text with names in place of the server's folders."""
Fingerprint = frozenset[tuple[str, int, int]]
"""Path, size and date of each file of a class."""


class LessonArchive:
    """The runs of a class: zipped, then erased."""

    def __init__(
        self, membership: Membership, runs_dir: Path, hide_folders: HideFolders = lambda content: content
    ) -> None:
        """Refer to the class of a server.

        Args:
            membership: of the server.
            runs_dir: folder of the runs.
            hide_folders: see `HideFolders`: the zip is opened on other machines, and by others.
        """
        self._membership, self._runs_dir, self._hide_folders = membership, runs_dir, hide_folders
        self._saved: Fingerprint | None = None

    def list_runs(self) -> list[Run]:
        """Return the runs of everybody who is or was a member, the newest first."""
        runs = (Run(self._runs_dir / name) for name in run_store.list_run_names(self._runs_dir))
        names = self._membership.list_owner_names()
        return [run for run in runs if run_quota.read_owner(run) in names]

    def has_saved_all(self) -> bool:
        """Return whether a zip with everything that is there now was sent to its end."""
        return self._saved is not None and self._saved == self._take_fingerprint()

    def write_zip(self) -> Iterator[bytes]:
        """Write the zip piece by piece.

        Yields:
            Its bytes, at most about `CHUNK_BYTES` at a time.
        """
        fingerprint, sink = self._take_fingerprint(), _Sink()
        with zipfile.ZipFile(sink, "w") as archive:
            archive.writestr("roster.csv", self._format_roster())
            for run in self.list_runs():
                for path, _ in sorted(file_io.iter_files(run.path)):
                    relative_path = Path(path).relative_to(run.path)
                    name = f"runs/{run.name}/{relative_path.as_posix()}"
                    if relative_path.as_posix() not in _LEFT_OUT_FILES:
                        yield from _write_file(archive, sink, Path(path), name, self._hide_folders)
            yield sink.take()
        yield sink.take()
        self._saved = fingerprint

    def erase(self, rules: LessonRules) -> int:
        """Erase the runs of the class, also deleted ones, its uploads, its rules and its members; make new codes.

        What others own, and what belongs to nobody, stays. An `OSError` says that a run could not be erased; the
        members are kept then, so that it can be tried again.

        Args:
            rules: of the class.

        Returns:
            Number of erased runs.
        """
        names = self._membership.list_owner_names()
        trash_dir = trash.get_trash_folder(self._runs_dir)
        deleted_runs = (Run(trash_dir / name) for name in trash.list_trashed_names(self._runs_dir))
        runs = [*self.list_runs(), *(run for run in deleted_runs if run_quota.read_owner(run) in names)]
        for run in runs:
            shutil.rmtree(run.path)
        owner_parts = {upload_tokens.get_owner_part(owner) for owner in names}
        handed = {entry.upload for entry in rules.read().handed if entry.upload}
        with suppress(FileNotFoundError):
            for folder in get_visitors_dir().iterdir():
                if upload_tokens.parse_owner_part(folder.name) in owner_parts or folder.name in handed:
                    shutil.rmtree(folder)
        rules.forget()
        self._membership.end_lesson()
        self._saved = None
        return len(runs)

    def _take_fingerprint(self) -> Fingerprint:
        return frozenset(
            (path, file_stat.st_size, file_stat.st_mtime_ns)
            for run in self.list_runs()
            for path, file_stat in file_io.iter_files(run.path)
        )

    def _format_roster(self) -> bytes:
        """Return who was in the class, and which runs are whose, as CSV in UTF-8."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(("name", "role", "joined", "run", "title"))
        rows: list[tuple[object, ...]] = []
        runs = [(run_quota.read_owner(run), run) for run in self.list_runs()]
        members = {run_quota.make_owner(key): member for key, member in self._membership.list_members().items()}
        for owner, name in self._membership.list_owner_names().items():
            member = members.get(owner)
            role = "left" if member is None else "teacher" if member.is_teacher else "student"
            joined = time.strftime("%Y-%m-%d %H:%M", time.localtime(member.joined)) if member else ""
            own_runs = [(run.name, run_notes.read_notes(run).title) for run_owner, run in runs if run_owner == owner]
            rows += [(name, role, joined, *entry) for entry in own_runs or [("", "")]]
        writer.writerows([escape_formula(cell) for cell in row] for row in rows)
        return text.getvalue().encode("utf-8-sig")


class _Sink(io.RawIOBase):
    """File that cannot be sought and gives away what was written to it."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """Return that it can be written."""
        return True

    def write(self, data: object) -> int:
        """Keep bytes until they are taken.

        Args:
            data: the bytes.

        Returns:
            Their number.
        """
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        content = b"".join(self._parts)
        self._parts.clear()
        return content


def _write_file(
    archive: zipfile.ZipFile, sink: _Sink, path: Path, name: str, hide_folders: HideFolders
) -> Iterator[bytes]:
    """Write one file; one that vanished meanwhile, or is none that can be read, is left out.

    Yields:
        The bytes of the zip.
    """
    try:
        source = file_io.open_regular_file(path)
    except OSError:
        return
    with source:
        info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
        info.compress_type = zipfile.ZIP_STORED if path.suffix == _STORED_SUFFIX else zipfile.ZIP_DEFLATED
        is_text = path.suffix in _TEXT_SUFFIXES and path.name not in _CHECKED_FILES
        # As a whole: a path may lie across two pieces. What a run writes as text is some MB at most.
        content = io.BytesIO(hide_folders(source.read())) if is_text else source
        read: Callable[[], bytes] = lambda: content.read(CHUNK_BYTES)  # noqa: E731
        with archive.open(info, "w", force_zip64=True) as target:
            for chunk in iter(read, b""):
                target.write(chunk)
                yield sink.take()
    yield sink.take()
