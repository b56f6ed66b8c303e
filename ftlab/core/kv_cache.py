"""On-disk key-value cache of bytes: one SQLite file with a size budget, evicted by least recent use. No torch.

The cache saves time and decides nothing. A key contains all that its value depends on, so an entry is never wrong, only
unused; each value carries a checksum, and one that was cut, altered or moved to another key counts as missing. When the
budget is spent, the entries that were unused longest are evicted.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from ftlab.core import file_io, user_dirs

DEFAULT_FEATURES_MB = 2000
"""Size limit of the cache of features and activations, 10^6 bytes; the environment variable `FTLAB_FEATURES_MB`
overrides it, 0 disables the cache."""
MIN_FREE_DISK_BYTES = 1 << 30
"""Bytes of disk space that the cache leaves free."""
_KEYS_PER_QUERY = 500  # old versions of SQLite allow at most 999 placeholders
_CREATE_TABLE_SQL = """CREATE TABLE IF NOT EXISTS kept (
    key BLOB NOT NULL UNIQUE, used INTEGER NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL DEFAULT -1)"""
# For files of versions without checksums: their values count as missing, and these versions still read what is written.
_ADD_CHECKSUM_SQL = "ALTER TABLE kept ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1"
LOCK_TIMEOUT_SECONDS = 5.0
"""Seconds to wait for the lock while another process writes."""
_REPEATED_LOCK_TIMEOUT_SECONDS = 0.1
"""Seconds to wait after the lock was waited for in vain: a process that hangs must not delay every access."""
_PASSING_ERROR_CODES = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
"""Primary result codes of SQLite that say nothing against the content of the file."""
_SECONDS_PER_DAY = 86_400
_logger = logging.getLogger(__name__)


def get_feature_budget() -> int:
    """Return the size limit of the cache of features and activations in bytes; 0 if it is disabled."""
    try:
        budget_mb = int(os.environ.get("FTLAB_FEATURES_MB", DEFAULT_FEATURES_MB))
    except ValueError:
        budget_mb = DEFAULT_FEATURES_MB
    return max(0, budget_mb) * 1_000_000


def get_feature_file() -> Path:
    """Return the file of the cache of features of this user; it need not exist yet."""
    return user_dirs.get_ftlab_home() / "features.sqlite"


class DiskCache:
    """One cache file; a file that cannot be used behaves as an empty cache.

    Attributes:
        path: of the SQLite file, created by the first `put`.
        budget_bytes: maximum size of the file in bytes.
        page_bytes: unit of the file's space, where it is created here. Values of a few kilobytes waste less of a large
            one: a value of more than half a page takes the whole of it.
    """

    def __init__(self, path: Path, budget_bytes: int, page_bytes: int = 4096) -> None:
        """Store path and sizes; the file is neither opened nor created."""
        self.path, self.budget_bytes, self.page_bytes = path, budget_bytes, page_bytes
        self._is_blocked = False

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the cached values of those keys that have an intact one, and mark them as used today."""
        values: dict[bytes, bytes] = {}

        def read_rows(connection: sqlite3.Connection) -> None:
            """Read the values in chunks of keys, and only then mark them: a file may be readable, but not writable."""
            key_chunks = [keys[start : start + _KEYS_PER_QUERY] for start in range(0, len(keys), _KEYS_PER_QUERY)]
            for key_chunk in key_chunks:
                placeholders = ",".join("?" * len(key_chunk))
                rows = connection.execute(
                    f"SELECT key, value, checksum FROM kept WHERE key IN ({placeholders})", key_chunk
                )
                values.update((key, value) for key, value, checksum in rows if _is_intact(key, value, checksum))
            # Days are fine enough for eviction, and a row is written at most once a day for being read.
            today = int(time.time()) // _SECONDS_PER_DAY
            for key_chunk in key_chunks:
                placeholders = ",".join("?" * len(key_chunk))
                connection.execute(
                    f"UPDATE kept SET used = ? WHERE used < ? AND key IN ({placeholders})", (today, today, *key_chunk)
                )

        # Not `Path.exists`, which raises if a folder above may not be searched.
        if keys and os.path.isfile(self.path):  # noqa: PTH113
            self._run_transaction(read_rows)
        return values

    def put(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Store (key, value) rows and evict what was unused longest.

        Nothing is stored if the rows exceed the budget, or would leave less than `MIN_FREE_DISK_BYTES` on the disk.
        """
        if not rows:
            return
        today = int(time.time()) // _SECONDS_PER_DAY

        def write_rows(connection: sqlite3.Connection) -> None:
            records = ((key, today, value, _compute_checksum(key, value)) for key, value in rows)
            connection.executemany(
                "INSERT OR REPLACE INTO kept (key, used, value, checksum) VALUES (?, ?, ?, ?)", records
            )
            self._evict_oldest(connection)

        total_bytes = sum(len(value) for _, value in rows)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            available_bytes = min(self.budget_bytes, file_io.get_free_bytes(self.path.parent) - MIN_FREE_DISK_BYTES)
        except OSError as cause:  # the user's folder cannot be created; the cache is not needed
            _logger.info("nothing is kept: %s", cause)
            return
        if total_bytes < available_bytes:
            self._run_transaction(write_rows)

    def _run_transaction(self, operation: Callable[[sqlite3.Connection], None]) -> None:
        """Run an operation in one transaction; a locked or full file is left alone, a damaged one is removed."""
        # Whatever is not a regular file, such as a pipe or a device, is not opened.
        if os.path.lexists(self.path) and not os.path.isfile(self.path):  # noqa: PTH113 - as above
            _logger.info("nothing is kept in %s: not a regular file", self.path)
            return
        timeout = LOCK_TIMEOUT_SECONDS
        if self._is_blocked:
            timeout = min(timeout, _REPEATED_LOCK_TIMEOUT_SECONDS)
        try:
            with closing(sqlite3.connect(self.path, timeout=timeout)) as connection:
                # A damaged row may claim to be text, which need not be UTF-8.
                connection.text_factory = bytes
                _prepare_table(connection, self.page_bytes)
                operation(connection)
                connection.commit()
            self._is_blocked = False
        # A damaged length may ask for more memory than there is.
        except (sqlite3.Error, MemoryError) as cause:
            # The lowest byte of an extended code is the primary one.
            error_code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            if error_code in _PASSING_ERROR_CODES:  # locked, or the disk is full: the values are computed again
                self._is_blocked = error_code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                _logger.info("nothing is kept in %s: %s", self.path, cause)
            else:  # no database, a damaged one, or one of another program: the next call creates a new one
                _logger.info("%s is given up: %s", self.path, cause)
                self._remove_file()

    def _remove_file(self) -> None:
        """Remove the file and its journal."""
        # The journal first: one that is left alone would be applied to the next file of this name.
        for path in (self.path.with_name(f"{self.path.name}-journal"), self.path):
            with suppress(OSError):  # Windows does not remove a file that another process has open
                path.unlink(missing_ok=True)

    def _evict_oldest(self, connection: sqlite3.Connection) -> None:
        """Delete the least recently used rows until the file is within its budget.

        Raises:
            sqlite3.DatabaseError: the file is over budget, and no row of the cache in it can be deleted.
        """
        oldest_query = "SELECT rowid FROM kept ORDER BY used, rowid LIMIT ?"
        while (used_bytes := self._measure_file_bytes(connection)) > self.budget_bytes:
            (row_count,) = connection.execute("SELECT COUNT(*) FROM kept").fetchone()
            if not row_count:
                raise sqlite3.DatabaseError("it is full of something else")
            # Down to nine tenths of the budget, so that not every `put` evicts. Rows differ in size: hence the loop.
            surplus_rows = int(row_count * (1 - 0.9 * self.budget_bytes / used_bytes)) + 1
            deletion = connection.execute(f"DELETE FROM kept WHERE rowid IN ({oldest_query})", (surplus_rows,))
            if deletion.rowcount < 1:
                raise sqlite3.DatabaseError("its rows cannot be deleted")
            connection.commit()
            connection.execute("PRAGMA incremental_vacuum").fetchall()  # each row that is fetched frees one page

    def _measure_file_bytes(self, connection: sqlite3.Connection) -> int:
        """Return the size of the database file in bytes."""
        page_count, page_bytes = (
            connection.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in ("page_count", "page_size")
        )
        return int(page_count * page_bytes)


def _prepare_table(connection: sqlite3.Connection, page_bytes: int) -> None:
    """Create the table in a new file; add the checksums to one of a version that had none."""
    column_names = {row[1] for row in connection.execute("PRAGMA table_info(kept)")}
    if b"checksum" in column_names:
        return
    if column_names:
        connection.execute(_ADD_CHECKSUM_SQL)
    else:
        # Effective only before the first table is created; else deleted rows would not shrink the file.
        connection.execute(f"PRAGMA page_size = {page_bytes}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute(_CREATE_TABLE_SQL)


def _compute_checksum(key: bytes, value: bytes) -> int:
    """Return the CRC-32 of key and value, so that a value does not pass for that of another key."""
    return zlib.crc32(value, zlib.crc32(key))


def _is_intact(key: object, value: object, checksum: object) -> bool:
    """Return whether a row is as it was written; in a damaged file a column may hold anything."""
    return isinstance(key, bytes) and isinstance(value, bytes) and checksum == _compute_checksum(key, value)
