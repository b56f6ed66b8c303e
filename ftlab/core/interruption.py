"""Ctrl+C and SIGTERM, heard within two seconds whatever the main thread does. No torch.

Python runs signal handlers in the main thread, between two of its instructions: while that thread imports a large
library or computes a gradient, nothing is heard. So the system's handler wakes a thread up through a socket, and that
thread ends the process if the main thread has not done so soon.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, Protocol

INTERRUPTED_STATUS = 130
"""Exit status after Ctrl+C: 128 plus the number of SIGINT, as shells have it."""
TERMINATED_STATUS = 143
"""Exit status after SIGTERM."""
GRACE_SECONDS = 1.0
"""Seconds that the main thread has to end in order."""
_POLL_SECONDS = 0.2


class InterruptHandler(Protocol):
    """Handler of interrupting signals, called from the watching thread."""

    def handle_signal(self, signal_number: int) -> None:
        """Note a signal that has just arrived."""

    def poll(self) -> None:
        """Look whether it is time to end the process; called several times a second."""


class CommandInterrupt:
    """Ends a command after Ctrl+C: Python raises `KeyboardInterrupt` in the main thread, which has a moment to end."""

    def __init__(self, exit_status: int = INTERRUPTED_STATUS, *, announces: bool = True) -> None:
        """Wait for a signal.

        Args:
            exit_status: of the process, if it does not end in order.
            announces: print the line that says that Ctrl+C ended the command.
        """
        self._exit_status, self._announces = exit_status, announces
        self._signal_times: list[float] = []

    def handle_signal(self, signal_number: int) -> None:
        """Note a signal; a second one ends the process at once.

        Args:
            signal_number: only SIGINT arrives here: any other ends the process without asking.
        """
        if signal_number == signal.SIGINT:
            self._signal_times.append(time.monotonic())

    def poll(self) -> None:
        """End the process once its time is up."""
        if len(self._signal_times) > 1 or (
            self._signal_times and time.monotonic() - self._signal_times[0] > GRACE_SECONDS
        ):
            if self._announces:
                announce_interrupt()
            end_process(self._exit_status)


class TerminationInterrupt(CommandInterrupt):
    """Ends a command after Ctrl+C, and after SIGTERM: it too has a moment in which its unfinished files go."""

    def handle_signal(self, signal_number: int) -> None:
        """Note a signal; a second one ends the process at once.

        Args:
            signal_number: SIGINT or SIGTERM.
        """
        if signal_number == signal.SIGTERM:
            self._exit_status, self._announces = TERMINATED_STATUS, False
            self._signal_times.append(time.monotonic())
        super().handle_signal(signal_number)


class InterruptWatcher:
    """Thread that hears signals.

    Attributes:
        handler: what is done about them.
    """

    def __init__(self) -> None:
        """Begin to listen, for a command that has nothing to save."""
        self.handler: InterruptHandler = CommandInterrupt()
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        # A program that was started in the background ignores Ctrl+C, and goes on to do so.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _raise_once)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="interrupt", daemon=True).start()

    def _watch(self) -> None:
        """Pass on signals, and ask the handler now and then whether it is time to end."""
        while True:
            readable, _, _ = select.select([self._reader], [], [], _POLL_SECONDS)
            for signal_number in self._reader.recv(64) if readable else b"":
                self.handler.handle_signal(signal_number)
            self.handler.poll()


_watchers: list[InterruptWatcher] = []
_announced, _raised = threading.Event(), threading.Event()
_temporary_folders: set[str] = set()


def _raise_once(_signal_number: int, _frame: object) -> None:
    """Raise `KeyboardInterrupt` at the first Ctrl+C; the second one must not disturb the end that has begun.

    Raises:
        KeyboardInterrupt: at the first call.
    """
    if not _raised.is_set():
        _raised.set()
        raise KeyboardInterrupt


def watch_process() -> None:
    """Hear signals in this process from now on, which ends by them: for a program, not for a library."""
    _watchers.append(InterruptWatcher())


def is_watched() -> bool:
    """Return whether this process hears signals in a thread of its own."""
    return bool(_watchers)


@contextmanager
def handle_interrupts(handler: InterruptHandler) -> Iterator[None]:
    """Let a handler decide about signals within the block, if this process is watched.

    Args:
        handler: asked in place of `CommandInterrupt`.
    """
    previous_handlers = [(watcher, watcher.handler) for watcher in _watchers]
    for watcher in _watchers:
        watcher.handler = handler
    try:
        yield
    finally:
        for watcher, previous_handler in previous_handlers:
            watcher.handler = previous_handler


@contextmanager
def end_in_order() -> Iterator[None]:
    """Let SIGTERM end this process as Ctrl+C does within the block: what is unfinished is removed before.

    Without it the system ends a process at once. Nothing changes in a process that is not watched (a library).
    """
    if not is_watched() or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end_once(_signal_number: int, _frame: object) -> None:
        if not _raised.is_set():
            _raised.set()
            raise SystemExit(TERMINATED_STATUS)

    previous_handler = signal.signal(signal.SIGTERM, end_once)
    try:
        with handle_interrupts(TerminationInterrupt()):
            yield
    finally:
        signal.signal(signal.SIGTERM, previous_handler)


@contextmanager
def remove_folder_at_end(folder: Path) -> Iterator[None]:
    """Remove a folder also where `end_process` ends this process within the block.

    Args:
        folder: that the block removes by itself otherwise.
    """
    _temporary_folders.add(str(folder))
    try:
        yield
    finally:
        _temporary_folders.discard(str(folder))


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Create a temporary folder, which is removed at the end of the block, and where `end_process` ends it.

    Args:
        prefix: of its name.

    Yields:
        The folder.
    """
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        folder = Path(name)
        with remove_folder_at_end(folder):
            yield folder


def announce_interrupt() -> None:
    """Print the line that says that Ctrl+C ended the command; once only."""
    if not _announced.is_set():
        _announced.set()
        # Only now: without an interrupt nothing of it is needed.
        from ftlab.core import messages

        print(f"ftlab: {messages.get_text('cli.interrupted')}", file=sys.stderr, flush=True)


def end_process(status: int) -> NoReturn:
    """End this process and the workers that it started, without waiting for any thread.

    Args:
        status: exit status.
    """
    _kill_workers()
    for name in list(_temporary_folders):
        shutil.rmtree(name, ignore_errors=True)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or its reader is gone
            stream.flush()
    os._exit(status)


def _kill_workers() -> None:
    """Kill the child processes of this session; trainings that this process started have sessions of their own."""
    import psutil

    if not hasattr(os, "getsid"):
        return
    with suppress(psutil.Error, OSError):
        session_id = os.getsid(0)
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error, OSError):
                if os.getsid(child.pid) == session_id:
                    child.kill()
