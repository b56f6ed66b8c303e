"""Bytes by key on the disk, in one SQLite file within a budget: what saves time and decides nothing. No torch.

A key says all that its value depends on; so nothing in it is ever wrong, only unused, and what was unused longest goes
when the budget is spent.
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
"""Bytes that stay free on the disk."""
_KEYS_PER_QUERY = 500
_CREATE_TABLE_SQL = """CREATE TABLE IF NOT EXISTS kept (
    key BLOB NOT NULL UNIQUE, used INTEGER NOT NULL, value BLOB NOT NULL)"""
LOCK_TIMEOUT_SECONDS = 5.0
"""Seconds to wait while another process writes."""
_SECONDS_PER_DAY = 86_400
_logger = logging.getLogger(__name__)


class DiskCache:
    """One such file. Where it cannot be used, it is as if it were empty.

    Args:
        path: made when something is put into it.
        budget_bytes: bytes that it may have.
    """

    def __init__(self, path: Path, budget_bytes: int) -> None:
        self.path, self.budget_bytes = path, budget_bytes

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that are kept."""
        values: dict[bytes, bytes] = {}
        today = int(time.time()) // _SECONDS_PER_DAY

        def read_rows(connection: sqlite3.Connection) -> None:
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
        """Keep values by their keys, and let go of what was not used longest."""
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
        except OSError as cause:  # there is no place for this person's things, and nobody needs one
            _logger.info("nothing is kept: %s", cause)
            return
        if total_bytes < available_bytes:
            self._run_transaction(write_rows)

    def _run_transaction(self, operation: Callable[[sqlite3.Connection], None]) -> None:
        try:
            with closing(sqlite3.connect(self.path, timeout=LOCK_TIMEOUT_SECONDS)) as connection:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute(_CREATE_TABLE_SQL)
                operation(connection)
                connection.commit()
        except sqlite3.OperationalError as cause:  # busy, or the disk is full: what is not kept is made again
            _logger.info("nothing is kept in %s: %s", self.path, cause)
        except sqlite3.DatabaseError as cause:  # no database, or one that is damaged: the next one begins anew
            _logger.info("%s is given up: %s", self.path, cause)
            with suppress(OSError):  # another process has it open, where the system minds that
                self.path.unlink(missing_ok=True)

    def _evict_oldest(self, connection: sqlite3.Connection) -> None:
        oldest_query = "SELECT rowid FROM kept ORDER BY used, rowid LIMIT ?"
        while (used_bytes := self._measure_file_bytes(connection)) > self.budget_bytes:
            (row_count,) = connection.execute("SELECT COUNT(*) FROM kept").fetchone()
            if not row_count:
                raise sqlite3.DatabaseError("it is full of something else")
            surplus_rows = int(row_count * (1 - 0.9 * self.budget_bytes / used_bytes)) + 1
            connection.execute(f"DELETE FROM kept WHERE rowid IN ({oldest_query})", (surplus_rows,))
            connection.commit()
            connection.execute("PRAGMA incremental_vacuum").fetchall()

    def _measure_file_bytes(self, connection: sqlite3.Connection) -> int:
        page_count, page_bytes = (
            connection.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in ("page_count", "page_size")
        )
        return int(page_count * page_bytes)
