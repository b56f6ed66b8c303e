"""On-disk key-value cache of bytes: one SQLite file with a size budget, evicted by least recent use. No torch.

The cache saves time and decides nothing. A key contains all that its value depends on, so an entry is never wrong, only
unused. When the budget is spent, the entries that were unused longest are evicted.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from ftlab.core import file_io

MIN_FREE_DISK_BYTES = 1 << 30
"""Bytes of disk space that the cache leaves free."""
_KEYS_PER_QUERY = 500  # old versions of SQLite allow at most 999 placeholders
_CREATE_TABLE_SQL = """CREATE TABLE IF NOT EXISTS kept (
    key BLOB NOT NULL UNIQUE, used INTEGER NOT NULL, value BLOB NOT NULL)"""
LOCK_TIMEOUT_SECONDS = 5.0
"""Seconds to wait for the lock while another process writes."""
_SECONDS_PER_DAY = 86_400
_logger = logging.getLogger(__name__)


class DiskCache:
    """One cache file; a file that cannot be used behaves as an empty cache.

    Attributes:
        path: of the SQLite file, created by the first `put`.
        budget_bytes: maximum size of the file in bytes.
    """

    def __init__(self, path: Path, budget_bytes: int) -> None:
        """Store path and budget; the file is neither opened nor created."""
        self.path, self.budget_bytes = path, budget_bytes

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the cached values of those keys that have one, and mark them as used today."""
        values: dict[bytes, bytes] = {}
        # Days are fine enough for eviction, and a row is written at most once a day for being read.
        today = int(time.time()) // _SECONDS_PER_DAY

        def read_rows(connection: sqlite3.Connection) -> None:
            """Read the keys in chunks."""
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                key_chunk = keys[start : start + _KEYS_PER_QUERY]
                placeholders = ",".join("?" * len(key_chunk))
                values.update(
                    connection.execute(f"SELECT key, value FROM kept WHERE key IN ({placeholders})", key_chunk)
                )
                connection.execute(
                    f"UPDATE kept SET used = ? WHERE used < ? AND key IN ({placeholders})", (today, today, *key_chunk)
                )

        if keys and self.path.exists():
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
            records = ((key, today, value) for key, value in rows)
            connection.executemany("INSERT OR REPLACE INTO kept (key, used, value) VALUES (?, ?, ?)", records)
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
        try:
            with closing(sqlite3.connect(self.path, timeout=LOCK_TIMEOUT_SECONDS)) as connection:
                # Effective only before the first table is created; else deleted rows would not shrink the file.
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute(_CREATE_TABLE_SQL)
                operation(connection)
                connection.commit()
        # A subclass of DatabaseError, so it comes first.
        except sqlite3.OperationalError as cause:  # locked, or the disk is full: the values are computed again
            _logger.info("nothing is kept in %s: %s", self.path, cause)
        except sqlite3.DatabaseError as cause:  # not a database, or a damaged one: the next call creates a new one
            _logger.info("%s is given up: %s", self.path, cause)
            with suppress(OSError):  # Windows does not remove a file that another process has open
                self.path.unlink(missing_ok=True)

    def _evict_oldest(self, connection: sqlite3.Connection) -> None:
        """Delete the least recently used rows until the file is within its budget.

        Raises:
            sqlite3.DatabaseError: the file is over budget with no row of the cache in it.
        """
        oldest_query = "SELECT rowid FROM kept ORDER BY used, rowid LIMIT ?"
        while (used_bytes := self._measure_file_bytes(connection)) > self.budget_bytes:
            (row_count,) = connection.execute("SELECT COUNT(*) FROM kept").fetchone()
            if not row_count:
                raise sqlite3.DatabaseError("it is full of something else")
            # Down to nine tenths of the budget, so that not every `put` evicts. Rows differ in size: hence the loop.
            surplus_rows = int(row_count * (1 - 0.9 * self.budget_bytes / used_bytes)) + 1
            connection.execute(f"DELETE FROM kept WHERE rowid IN ({oldest_query})", (surplus_rows,))
            connection.commit()
            connection.execute("PRAGMA incremental_vacuum").fetchall()  # each row that is fetched frees one page

    def _measure_file_bytes(self, connection: sqlite3.Connection) -> int:
        """Return the size of the database file in bytes."""
        page_count, page_bytes = (
            connection.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in ("page_count", "page_size")
        )
        return int(page_count * page_bytes)
