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

_SPARE = 1 << 30
"""Bytes that stay free on the disk."""
_CHUNK = 500
_TABLE = """CREATE TABLE IF NOT EXISTS kept (
    key BLOB NOT NULL UNIQUE, used INTEGER NOT NULL, value BLOB NOT NULL)"""
_PATIENCE = 5.0
"""Seconds to wait while another process writes."""
_DAY = 86_400
_log = logging.getLogger(__name__)


class Cache:
    """One such file. Where it cannot be used, it is as if it were empty.

    Args:
        file: made when something is put into it.
        budget: bytes that it may have.
    """

    def __init__(self, file: Path, budget: int) -> None:
        self.file, self.budget = file, budget

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that are kept."""
        found: dict[bytes, bytes] = {}
        today = int(time.time()) // _DAY

        def look(table: sqlite3.Connection) -> None:
            for start in range(0, len(keys), _CHUNK):
                some = keys[start : start + _CHUNK]
                marks = ",".join("?" * len(some))
                found.update(table.execute(f"SELECT key, value FROM kept WHERE key IN ({marks})", some))
                table.execute(f"UPDATE kept SET used = ? WHERE used < ? AND key IN ({marks})", (today, today, *some))

        if keys and self.file.exists():
            self._use(look)
        return found

    def put(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep values by their keys, and let go of what was not used longest."""
        if not rows:
            return
        today = int(time.time()) // _DAY

        def write(table: sqlite3.Connection) -> None:
            made = ((key, today, value) for key, value in rows)
            table.executemany("INSERT OR REPLACE INTO kept (key, used, value) VALUES (?, ?, ?)", made)
            self._trim(table)

        size = sum(len(value) for _, value in rows)
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            room = min(self.budget, file_io.free(self.file.parent) - _SPARE)
        except OSError as cause:  # there is no place for this person's things, and nobody needs one
            _log.info("nothing is kept: %s", cause)
            return
        if size < room:
            self._use(write)

    def _use(self, work: Callable[[sqlite3.Connection], None]) -> None:
        try:
            with closing(sqlite3.connect(self.file, timeout=_PATIENCE)) as table:
                table.execute("PRAGMA auto_vacuum = INCREMENTAL")
                table.execute(_TABLE)
                work(table)
                table.commit()
        except sqlite3.OperationalError as cause:  # busy, or the disk is full: what is not kept is made again
            _log.info("nothing is kept in %s: %s", self.file, cause)
        except sqlite3.DatabaseError as cause:  # no database, or one that is damaged: the next one begins anew
            _log.info("%s is given up: %s", self.file, cause)
            with suppress(OSError):  # another process has it open, where the system minds that
                self.file.unlink(missing_ok=True)

    def _trim(self, table: sqlite3.Connection) -> None:
        oldest = "SELECT rowid FROM kept ORDER BY used, rowid LIMIT ?"
        while (taken := self._bytes(table)) > self.budget:
            (count,) = table.execute("SELECT COUNT(*) FROM kept").fetchone()
            if not count:
                raise sqlite3.DatabaseError("it is full of something else")
            surplus = int(count * (1 - 0.9 * self.budget / taken)) + 1
            table.execute(f"DELETE FROM kept WHERE rowid IN ({oldest})", (surplus,))
            table.commit()
            table.execute("PRAGMA incremental_vacuum").fetchall()

    def _bytes(self, table: sqlite3.Connection) -> int:
        pages, size = (table.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return int(pages * size)
