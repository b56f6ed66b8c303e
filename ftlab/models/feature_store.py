"""Features that were computed before, kept on the disk: another head, rate or seed need not look at the pictures again.

One SQLite file for all trainings. A row is one look at one picture, by a key that says all that its bits depend on; so
nothing in it is ever wrong, only unused, and what was unused longest goes when the budget is spent.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ftlab import disk, places

BUDGET = 2000
"""Megabytes (10^6 bytes) that the file may have; `FTLAB_FEATURES_MB` says another number, 0 keeps nothing."""
_SPARE = 1 << 30
"""Bytes that stay free on the disk."""
_CHUNK = 500
_TABLE = """CREATE TABLE IF NOT EXISTS looks (
    key BLOB NOT NULL UNIQUE, used INTEGER NOT NULL, vector BLOB NOT NULL)"""
_PATIENCE = 5.0
"""Seconds to wait while another process writes."""
_DAY = 86_400
_log = logging.getLogger(__name__)


class Store:
    """A file of features. Where it cannot be used, it is as if it were empty: it saves time and decides nothing.

    Args:
        file: made when something is put into it.
        budget: bytes that it may have.
    """

    def __init__(self, file: Path, budget: int) -> None:
        self.file, self.budget = file, budget

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Tensor]:
        """float32 [D] by key, of those that are kept."""
        found: dict[bytes, Tensor] = {}
        today = int(time.time()) // _DAY

        def look(table: sqlite3.Connection) -> None:
            for start in range(0, len(keys), _CHUNK):
                some = keys[start : start + _CHUNK]
                marks = ",".join("?" * len(some))
                for key, vector in table.execute(f"SELECT key, vector FROM looks WHERE key IN ({marks})", some):
                    found[key] = torch.from_numpy(np.frombuffer(vector, np.float32).copy())
                table.execute(f"UPDATE looks SET used = ? WHERE used < ? AND key IN ({marks})", (today, today, *some))

        if keys and self.file.exists():
            self._use(look)
        return found

    def put(self, rows: Sequence[tuple[bytes, Tensor]]) -> None:
        """Keep float32 [D] by key, and let go of what was not used longest."""
        today = int(time.time()) // _DAY

        def write(table: sqlite3.Connection) -> None:
            made = ((key, today, vector.numpy().tobytes()) for key, vector in rows)
            table.executemany("INSERT OR REPLACE INTO looks (key, used, vector) VALUES (?, ?, ?)", made)
            self._trim(table)

        self.file.parent.mkdir(parents=True, exist_ok=True)
        size = sum(vector.numel() * 4 for _, vector in rows)
        if rows and size < min(self.budget, disk.free(self.file.parent) - _SPARE):
            self._use(write)

    def _use(self, work: Callable[[sqlite3.Connection], None]) -> None:
        try:
            with closing(sqlite3.connect(self.file, timeout=_PATIENCE)) as table:
                table.execute("PRAGMA auto_vacuum = INCREMENTAL")
                table.execute(_TABLE)
                work(table)
                table.commit()
        except sqlite3.OperationalError as cause:  # busy, or the disk is full: what is not kept is computed again
            _log.info("features are not kept: %s", cause)
        except sqlite3.DatabaseError as cause:  # no database, or one that is damaged: the next one begins anew
            _log.info("the kept features are given up: %s", cause)
            self.file.unlink(missing_ok=True)

    def _trim(self, table: sqlite3.Connection) -> None:
        oldest = "SELECT rowid FROM looks ORDER BY used, rowid LIMIT ?"
        while (taken := self._bytes(table)) > self.budget:
            (count,) = table.execute("SELECT COUNT(*) FROM looks").fetchone()
            surplus = int(count * (1 - 0.9 * self.budget / taken)) + 1
            table.execute(f"DELETE FROM looks WHERE rowid IN ({oldest})", (surplus,))
            table.commit()
            table.execute("PRAGMA incremental_vacuum").fetchall()

    def _bytes(self, table: sqlite3.Connection) -> int:
        pages, size = (table.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return int(pages * size)


def of_home() -> Store | None:
    """The store of this person; None where nothing is to be kept."""
    try:
        budget = int(os.environ.get("FTLAB_FEATURES_MB", BUDGET))
    except ValueError:
        budget = BUDGET
    return Store(places.home() / "features.sqlite", budget * 1_000_000) if budget > 0 else None
