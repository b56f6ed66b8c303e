"""The database of the queue (SQLite, WAL): a lock for all processes of this machine, and when each person had a turn.

Nothing in it is the only copy of anything. Where it is missing or damaged, it is made again: who waits is in the run
directories, and whose run was started last is known from those that are active.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ftlab.core import file_io, user_dirs
from ftlab.core.errors import RunError
from ftlab.runs.queue import file_systems

QUEUE_FOLDER_ENV = "FTLAB_QUEUE_DIR"
"""Environment variable: folder of a local disk for the databases of queues; without it they lie beside the runs."""
DATABASE_FILE = ".queue.sqlite3"
"""File of the database, in the runs folder."""
LOCK_TIMEOUT_SECONDS = 60.0
"""Seconds to wait for other processes that hold the lock, each for some milliseconds."""
_RETRY_SECONDS = 0.02


class QueueDatabase:
    """The database of one runs folder. Holds no connection: it may be used from any thread, and after a fork."""

    def __init__(self, root: Path | str) -> None:
        """Refer to the database of a runs folder; nothing is created yet.

        Args:
            root: folder of all runs.
        """
        self.root = Path(root).absolute()
        self.path = locate_database(self.root)

    @contextmanager
    def lock(self) -> Iterator[dict[str, float]]:
        """Hold the lock of the queue within the block. The system releases it if this process is killed.

        A `RunError` says that the folder is on a network file system or cannot be written, or that the lock is held for
        too long.

        Yields:
            When each person last had a turn, in seconds since 1970; changes are stored when the block ends.
        """
        self._check_folder()
        deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
        while (connection := self._try_begin(deadline)) is None:
            time.sleep(_RETRY_SECONDS)
        with closing(connection):
            turns = _read_turns(connection)
            stored = dict(turns)
            try:
                yield turns
            except BaseException:
                # What has been started has had its turn, whatever failed after it.
                _write_turns(connection, stored, turns)
                raise
            _write_turns(connection, stored, turns)

    def read_turns(self) -> dict[str, float]:
        """Return when each person last had a turn, without waiting for the lock; empty where that is not known."""
        if not self.path.is_file():
            return {}
        try:
            with closing(sqlite3.connect(self.path, timeout=1.0, isolation_level=None)) as connection:
                return _read_turns(connection)
        except sqlite3.Error:
            return {}

    def _check_folder(self) -> None:
        """Create the folder of the database and check that locks hold there.

        Raises:
            RunError: it cannot be created, or is on a network file system.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise RunError("run.write", folder=self.path.parent, cause=cause.strerror or cause) from cause
        network_type = file_systems.find_network_type(self.path.parent)
        if network_type:
            raise RunError("run.queue_network", folder=self.path.parent, type=network_type, variable=QUEUE_FOLDER_ENV)

    def _try_begin(self, deadline: float) -> sqlite3.Connection | None:
        """Open the database and begin a write transaction, which is the lock.

        Args:
            deadline: when to give up, on the monotonic clock.

        Returns:
            The connection; None to try again: another process had the lock, or replaced the database.

        Raises:
            RunError: the lock is held for too long, or the database cannot be written.
        """
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(self.path, timeout=LOCK_TIMEOUT_SECONDS, isolation_level=None)
            identity = _get_file_identity(self.path)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE IF NOT EXISTS turns (owner TEXT PRIMARY KEY, time REAL NOT NULL)")
            _read_turns(connection)
            # Somebody may have deleted the file meanwhile: a lock on it keeps nobody out.
            if identity is not None and identity == _get_file_identity(self.path):
                begun, connection = connection, None
                return begun
        except sqlite3.DatabaseError as cause:
            is_busy = isinstance(cause, sqlite3.OperationalError) and "locked" in str(cause)
            if time.monotonic() > deadline:
                raise RunError("run.queue_locked", file=self.path) from cause
            if isinstance(cause, sqlite3.OperationalError) and not is_busy:
                if not self.path.is_file() and self.path.parent.is_dir() and os.access(self.path.parent, os.W_OK):
                    return None  # it was deleted while it was opened
                folder = self.path.parent
                raise RunError("run.write", folder=folder, cause=_find_write_error(folder) or cause) from cause
            if not is_busy:
                if connection is not None:
                    connection.close()
                    connection = None
                self._remove_damaged()
        finally:
            if connection is not None:
                connection.close()
        return None

    def _remove_damaged(self) -> None:
        """Remove the database, if it is still damaged once no other process removes it."""
        with suppress(Timeout), FileLock(self.path.with_name(f"{self.path.name}.repair"), timeout=1.0):
            try:
                with closing(sqlite3.connect(self.path, timeout=1.0, isolation_level=None)) as connection:
                    _read_turns(connection)
            except sqlite3.OperationalError:  # a new one, which has no table yet
                return
            except sqlite3.DatabaseError:
                for suffix in ("", "-wal", "-shm"):
                    self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)


def declare_queue_folder(folder: str | None) -> None:
    """Set the folder for the databases of queues, in this process and in those that it starts.

    Args:
        folder: as a person typed it; None: leave it as it is.
    """
    if folder:
        os.environ[QUEUE_FOLDER_ENV] = str(user_dirs.expand_home(folder).absolute())


def locate_database(root: Path) -> Path:
    """Return the file of the database of a runs folder: beside the runs, or where `FTLAB_QUEUE_DIR` says."""
    folder = os.environ.get(QUEUE_FOLDER_ENV, "")
    if not folder:
        return root / DATABASE_FILE
    digest = hashlib.sha256(os.path.realpath(root).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return Path(folder).expanduser().absolute() / f"queue-{digest}.sqlite3"


def _get_file_identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one of its name; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _find_write_error(folder: Path) -> str:
    """Return why a folder cannot be written, as the system says it: SQLite knows little of it; empty if it can be."""
    try:
        file_io.check_folder_writable(folder)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _read_turns(connection: sqlite3.Connection) -> dict[str, float]:
    """Return the turns by owner."""
    return {str(owner): float(turn) for owner, turn in connection.execute("SELECT owner, time FROM turns")}


def _write_turns(connection: sqlite3.Connection, stored: dict[str, float], turns: dict[str, float]) -> None:
    """Store the turns that have changed, and end the transaction.

    Args:
        connection: in a transaction.
        stored: what the database has.
        turns: what it should have.
    """
    changed = [(owner, turn) for owner, turn in turns.items() if stored.get(owner) != turn]
    # A full disk must not end whoever has just started a training: the turn is known from the run too.
    with suppress(sqlite3.Error):
        connection.executemany(
            "INSERT INTO turns VALUES (?, ?) ON CONFLICT(owner) DO UPDATE SET time = excluded.time", changed
        )
        connection.execute("COMMIT")
