"""Loading large packages and ending without taking them apart: nothing of what a process should do is left out."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ftlab.core import lazy_import


def ended(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)


AT_ONCE = "import sys; from ftlab.core import lazy_import; leave = lazy_import.exit_without_teardown(); "


def test_a_module_is_loaded_and_garbage_is_looked_for_again_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "asks_for_gc.py").write_text("import gc\nLOOKED = gc.isenabled()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert lazy_import.import_module("asks_for_gc").LOOKED is False
    assert gc.isenabled()
    assert lazy_import.import_module("asks_for_gc") is sys.modules.pop("asks_for_gc")


def test_a_module_that_fails_leaves_the_search_for_garbage_on() -> None:
    with pytest.raises(ModuleNotFoundError):
        lazy_import.import_module("ftlab.there_is_no_such_room")
    assert gc.isenabled()


def test_two_threads_that_load_at_once_leave_the_search_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("slow_one", "slow_two"):
        (tmp_path / f"{name}.py").write_text("import time\ntime.sleep(0.05)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    threads = [threading.Thread(target=lazy_import.import_module, args=(name,)) for name in ("slow_one", "slow_two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gc.isenabled()
    assert {"slow_one", "slow_two"} <= set(sys.modules)
    for name in ("slow_one", "slow_two"):
        del sys.modules[name]


def test_what_is_garbage_later_is_found_though_modules_were_loaded() -> None:
    program = "import gc, weakref; from ftlab.core import lazy_import; lazy_import.import_module('json.tool')\n"
    program += "class Ring: pass\nring = Ring(); ring.itself = ring; seen = weakref.ref(ring)\n"
    program += "del ring; gc.collect(); print(seen())"
    assert ended(program).stdout == "None\n"


def test_the_status_that_is_told_is_the_process_s_and_all_it_said_is_written() -> None:
    done = ended(AT_ONCE + "print('said'); print('also', file=sys.stderr); leave(2); sys.exit(2)")
    assert (done.returncode, done.stdout, done.stderr) == (2, "said\n", "also\n")


def test_what_was_to_run_at_the_end_runs_and_threads_are_waited_for() -> None:
    program = AT_ONCE + "import atexit, threading, time; atexit.register(print, 'last'); "
    program += "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start(); leave(0)"
    assert ended(program).stdout == "thread\nlast\n"


def test_nothing_is_taken_apart_once_the_status_is_told() -> None:
    program = AT_ONCE + "\nclass Loud:\n    def __del__(self): print('taken apart')\nloud = Loud()\n"
    assert ended(program).stdout == "taken apart\n"
    assert ended(program + "leave(0)").stdout == ""


def test_an_error_ends_in_python_s_own_way() -> None:
    done = ended(AT_ONCE + "raise RuntimeError('a bug')")
    assert done.returncode == 1
    assert "RuntimeError: a bug" in done.stderr
