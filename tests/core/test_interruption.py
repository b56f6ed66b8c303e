"""Ctrl+C ends a command within two seconds, in one line, whatever it is doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ftlab.cli import main
from ftlab.cli.commands import recipes
from ftlab.core import interruption
from ftlab.runs import process_record

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there, another process cannot be interrupted")

PREPARE = (
    "import hashlib, signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from ftlab.core import interruption; interruption.watch_process(); "
)
BUSY = PREPARE + "print('now', flush=True); hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
"""Not a single instruction of Python for a quarter of an hour, and so no signal handler either."""
ORDERLY = (
    PREPARE
    + """
try:
    print('now', flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    interruption.announce_interrupt()
    sys.exit(interruption.INTERRUPTED_STATUS)
"""
)
WORKER = PREPARE + (
    "import subprocess; w = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    "import psutil; print('now', w.pid, psutil.Process(w.pid).create_time(), flush=True);"
    " hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
)


def interrupted(code: str, times: int = 1, signal_number: int = signal.SIGINT) -> tuple[int, str, str]:
    """Exit status, first line and error output of a program that is interrupted once it says so."""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        time.sleep(0.3)  # until it is busy
        try:
            for _ in range(times):
                process.send_signal(signal_number)
                time.sleep(0.1)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, line, errors


@pytest.mark.parametrize("code", [BUSY, ORDERLY], ids=["busy", "orderly"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_program_ends_in_one_line(code: str, times: int) -> None:
    status, _, errors = interrupted(code, times)
    # A second Ctrl+C may come when Python has given up its handlers: the system ends it, and a shell says 130 too.
    assert status in (130, -signal.SIGINT)
    assert errors == "ftlab: interrupted (Ctrl+C).\n"


@pytest.mark.parametrize("wait", ["time.sleep(60)", "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"])
def test_a_program_that_asks_for_it_removes_what_is_unfinished_when_it_is_terminated(tmp_path: Path, wait: str) -> None:
    (place := tmp_path / "place").mkdir()
    code = f"""{PREPARE}
from pathlib import Path
from ftlab.core import file_io
with interruption.end_in_order(), file_io.private_folder(Path({str(place / "out")!r})) as folder:
    with interruption.remove_folder_at_end(folder):
        (folder / "half").write_bytes(bytes(100))
        print('now', flush=True)
        {wait}
"""
    assert interrupted(code, signal_number=signal.SIGTERM) == (143, "now\n", "")
    assert not list(place.iterdir())


def test_its_workers_end_with_it() -> None:
    _, line, _ = interrupted(WORKER)
    worker = process_record.find_process(int(line.split()[1]), float(line.split()[2]))
    assert worker is None


def test_a_command_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(recipes, "recipes", interrupt)
    interruption._announced.clear()
    assert main.main(["recipes"]) == 130
    assert capsys.readouterr().err == "ftlab: interrupted (Ctrl+C).\n"


def test_a_library_hears_no_signals() -> None:
    assert not interruption.is_watched()
