"""Disk space that uploads may take, reserved before it is used."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ftlab.core import file_io

UPLOAD_QUOTA_BYTES = 4 << 30
"""Bytes of disk space that uploads and files unpacked from them may take, over all visitors."""
VISITOR_QUOTA_BYTES = 1 << 30
"""Bytes that one visitor of a shared server may send and unpack within `VISITOR_PERIOD_SECONDS`."""
VISITOR_PERIOD_SECONDS = 86_400.0
"""Seconds for which what was sent counts towards a visitor's share: so long Gradio keeps it."""
MIN_FREE_BYTES = 64 << 20
"""Bytes that stay free on the disk of the uploads, for trainings that save what they have learned."""
MAX_UPLOAD_BYTES = 256 << 20
"""Bytes of one upload request, all of its files together."""
MEASUREMENT_MAX_AGE_SECONDS = 5.0
"""Seconds for which the folders are not measured again: after a lesson they hold thousands of images."""


class QuotaExceededError(Exception):
    """There is no space for what is to be written.

    Attributes:
        message_key: key below `server.` in the messages: `full` or `share`.
    """

    def __init__(self, message_key: str) -> None:
        """Store the reason."""
        super().__init__(message_key)
        self.message_key = message_key


@dataclass
class Reservation:
    """Space that was set aside.

    Attributes:
        reserved_bytes: the space.
        is_used: what was written stays: set by whoever has reserved it; else the space is free again at once.
    """

    reserved_bytes: int
    is_used: bool = False


@dataclass(frozen=True)
class UploadQuota:
    """Limits on uploads, and the folders that count towards them.

    Attributes:
        uploads_dir: folder of Gradio's uploads and cache; None: not counted.
        unpacked_dir: folder of files unpacked from uploads; None: not counted.
        quota_bytes: bytes that both folders may hold together.
        max_upload_bytes: bytes of one upload request.
        visitor_quota_bytes: bytes that one visitor may send and unpack in a day; None: no limit but the others.
    """

    uploads_dir: Path | None = None
    unpacked_dir: Path | None = None
    quota_bytes: int = UPLOAD_QUOTA_BYTES
    max_upload_bytes: int = MAX_UPLOAD_BYTES
    visitor_quota_bytes: int | None = None

    @contextmanager
    def reserve(self, byte_count: int, visitor: str = "") -> Iterator[Reservation]:
        """Set space aside while something is written; no two writers get the same space.

        A `QuotaExceededError` says that there is none.

        Args:
            byte_count: the most bytes that will be written.
            visitor: whose share it counts towards; empty: nobody's.

        Yields:
            The reservation.
        """
        ledger = _get_ledger(self)
        reservation = Reservation(byte_count)
        visitor_quota = self.visitor_quota_bytes if visitor else None
        ledger.add(reservation, visitor, self.measure_used_bytes, self.quota_bytes, visitor_quota)
        try:
            yield reservation
        finally:
            ledger.settle(reservation, visitor)

    def check_free_space(self, byte_count: int) -> None:
        """Check that the disk has room for an upload: a quota is a promise of ftlab's, not of the disk's.

        Args:
            byte_count: the most bytes that will be written.

        Raises:
            QuotaExceededError: it has none.
        """
        if self.uploads_dir is None:
            return
        folder = next(path for path in (self.uploads_dir, *self.uploads_dir.parents) if path.exists())
        if file_io.get_free_bytes(folder) < byte_count + MIN_FREE_BYTES:
            raise QuotaExceededError("full")

    def measure_used_bytes(self) -> int:
        """Return the bytes in both folders: files on the disk, because Gradio removes its own files too."""
        return (sweep_uploads(self.uploads_dir) if self.uploads_dir else 0) + (
            file_io.get_folder_size(self.unpacked_dir) if self.unpacked_dir else 0
        )


@dataclass
class _Ledger:
    """Reservations of one pair of folders.

    Attributes:
        lock: held while a reservation is added or settled.
        measured_bytes: in the folders, when nothing was being written.
        measured_time: when, by `time.monotonic`.
        added_bytes: reserved since then, also by writers that have finished.
        open_reservations: of writers at work.
        visitor_entries: time and bytes of what each visitor has reserved.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    measured_bytes: int = 0
    measured_time: float = float("-inf")
    added_bytes: int = 0
    open_reservations: list[Reservation] = field(default_factory=list)
    visitor_entries: dict[str, list[tuple[float, Reservation]]] = field(default_factory=dict)

    def add(
        self,
        reservation: Reservation,
        visitor: str,
        measure: Callable[[], int],
        quota_bytes: int,
        visitor_quota_bytes: int | None,
    ) -> None:
        """Add a reservation.

        Args:
            reservation: to be added.
            visitor: see `UploadQuota.reserve`.
            measure: returns the bytes in the folders.
            quota_bytes: limit on all.
            visitor_quota_bytes: limit on the visitor; None: none.

        Raises:
            QuotaExceededError: there is no space.
        """
        with self.lock:
            self._check_visitor(reservation, visitor, visitor_quota_bytes)
            now = time.monotonic()
            is_outdated = not self.open_reservations and now - self.measured_time > MEASUREMENT_MAX_AGE_SECONDS
            if is_outdated:
                self.measured_bytes, self.measured_time, self.added_bytes = measure(), now, 0
            used_bytes = self.measured_bytes + self.added_bytes
            if used_bytes + reservation.reserved_bytes > quota_bytes and not is_outdated:
                # Files may have been removed since; what is being written is then counted twice, never too little.
                open_bytes = sum(entry.reserved_bytes for entry in self.open_reservations)
                used_bytes = min(used_bytes, measure() + open_bytes)
            if used_bytes + reservation.reserved_bytes > quota_bytes:
                raise QuotaExceededError("full")
            self.added_bytes += reservation.reserved_bytes
            self.open_reservations.append(reservation)
            if visitor:
                self.visitor_entries.setdefault(visitor, []).append((time.monotonic(), reservation))

    def _check_visitor(self, reservation: Reservation, visitor: str, visitor_quota_bytes: int | None) -> None:
        """Forget what is too old to count, and check the share of a visitor.

        Args:
            reservation: to be added.
            visitor: who it belongs to; empty: nobody.
            visitor_quota_bytes: limit on the visitor; None: none.

        Raises:
            QuotaExceededError: the share is used up.
        """
        oldest_time = time.monotonic() - VISITOR_PERIOD_SECONDS
        for name, entries in list(self.visitor_entries.items()):
            self.visitor_entries[name] = [entry for entry in entries if entry[0] > oldest_time]
            if not self.visitor_entries[name]:
                del self.visitor_entries[name]
        used_bytes = sum(entry.reserved_bytes for _, entry in self.visitor_entries.get(visitor, []))
        if visitor_quota_bytes is not None and used_bytes + reservation.reserved_bytes > visitor_quota_bytes:
            raise QuotaExceededError("share")

    def settle(self, reservation: Reservation, visitor: str) -> None:
        """Close a reservation; the space of one that was not used is free again."""
        with self.lock:
            self.open_reservations = [entry for entry in self.open_reservations if entry is not reservation]
            if reservation.is_used:
                return
            self.added_bytes -= reservation.reserved_bytes
            own_entries = self.visitor_entries.get(visitor, [])
            own_entries[:] = [entry for entry in own_entries if entry[1] is not reservation]


_ledgers: dict[Path | None, _Ledger] = {}
_ledgers_lock = threading.Lock()


def _get_ledger(quota: UploadQuota) -> _Ledger:
    """Return the ledger of a quota's folders: requests and unpacking, in whatever thread, share it."""
    with _ledgers_lock:
        return _ledgers.setdefault(quota.unpacked_dir or quota.uploads_dir, _Ledger())


def sweep_uploads(folder: Path, *, min_age_seconds: float = 60.0) -> int:
    """Remove the empty temporary files that Gradio's file components leave behind, and measure the folder.

    Args:
        folder: Gradio's upload folder.
        min_age_seconds: age in seconds from which an empty file counts as left behind; a younger one may be in use.

    Returns:
        Bytes below the folder.
    """
    total_bytes, now = 0, time.time()
    for path, file_stat in file_io.iter_files(folder):
        if file_stat.st_size == 0 and Path(path).name.startswith("tmp") and now - file_stat.st_mtime > min_age_seconds:
            with suppress(OSError):  # gone in the meantime
                Path(path).unlink()
        total_bytes += file_stat.st_size
    return total_bytes
