"""A process that is gone without a word is told in words: from its exit status, its last lines, and the machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from ftlab.core import machine
from ftlab.core.errors import DataError, RunError
from ftlab.runs import heartbeat, process_record
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch, postmortem
from ftlab.runs.jobs.postmortem import DeathCause
from tests.support import fabricated_runs
from tests.support.staged_jobs import DEAF, OBEDIENT, Stage, ended, until

posix = pytest.mark.skipif(os.name == "nt", reason="signals and limits are a thing of POSIX")
HIMSELF = "import os, signal, time; os.kill(os.getpid(), signal.{}); time.sleep(60)"


def dead(root: Path, code: int | None = None, log: str = "", pid: int = 2**22 + 1, **facts: object) -> Run:
    """A run whose process is gone: what it wrote, and what was seen of its end."""
    run = fabricated_runs.make(root, fabricated_runs.story(epochs=1))
    run.liveness.set_owner(pid)
    fabricated_runs.write(run, [fabricated_runs.started()])
    run.log_path.write_text(log, encoding="utf-8")
    record = run.liveness.read_process_record()
    assert record is not None
    values = {**vars(record), "code": code, "free": 10**9, "starved": False, **facts}
    heartbeat.overwrite_json(run.path / "process.json", values, 1024)
    return run


# --- processes that really died


@posix
@pytest.mark.parametrize(
    ("name", "word", "says"),
    [
        ("SIGKILL", "Killed", "killed (SIGKILL): by a person, or by the system"),
        ("SIGTERM", "Terminated from outside", "terminated from outside (SIGTERM)"),
        ("SIGSEGV", "Crashed", "A library crashed (SIGSEGV)"),
        ("SIGABRT", "Crashed", "A library crashed (SIGABRT)"),
        ("SIGILL", "Crashed", "an instruction that this CPU does not support (SIGILL)"),
        ("SIGXCPU", "A limit was reached", "limit of this system"),
        ("SIGUSR1", "Crashed", "SIGUSR1"),
    ],
)
def test_a_signal_is_told_by_its_name(tmp_path: Path, stage: Stage, name: str, word: str, says: str) -> None:
    run = stage.gone(tmp_path, HIMSELF.format(name))
    assert run.liveness.get_status() == "died"
    found = postmortem.find_cause(run)
    assert found.label == word
    assert says in found.explanation


@posix
def test_a_crash_leaves_the_lines_that_led_there(tmp_path: Path, stage: Stage) -> None:
    deep = "import ctypes\ndef decode(depth):\n    decode(depth - 1) if depth else ctypes.string_at(0)\n"
    run = stage.gone(tmp_path, f"print('looking')\n{deep}decode(30)")
    assert postmortem.find_cause(run).label == "Crashed"
    lines = postmortem.read_last_output(run).splitlines()
    assert lines[0] == "Fatal Python error: Segmentation fault"
    assert [line.rpartition(" ")[2] for line in lines[2:5]] == ["string_at", "decode", "decode"]
    assert len(lines) == postmortem.MAX_OUTPUT_LINES


def test_an_error_that_nobody_caught_is_told_by_its_last_line(tmp_path: Path, stage: Stage) -> None:
    run = stage.gone(tmp_path, "print('looking')\ntry:\n    1 / 0\nfinally:\n    raise KeyError('weights')")
    found = postmortem.find_cause(run)
    assert (found.label, found.explanation) == ("Failed", "KeyError: 'weights'")
    assert postmortem.read_last_output(run).startswith("looking\nTraceback")


def test_a_mistake_of_the_persons_is_told_in_its_own_words(tmp_path: Path, stage: Stage) -> None:
    run = stage.gone(tmp_path, "import sys; sys.exit('ftlab: There is no folder <x>.')")
    assert postmortem.find_cause(run).explanation == "There is no folder <x>."


@posix
def test_memory_that_runs_out_under_a_limit_is_told(tmp_path: Path, stage: Stage) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**29,) * 2)\n"
    run = stage.gone(tmp_path, limit + "pictures = [bytearray(2**28) for _ in range(100)]")
    found = postmortem.find_cause(run)
    assert found.label == "Out of memory"
    assert "MemoryError" in found.explanation


@posix
def test_a_c_library_without_memory_is_told_too(tmp_path: Path, stage: Stage) -> None:
    words = "terminate called after throwing an instance of 'std::bad_alloc'"
    run = stage.gone(tmp_path, f'import os, sys; print("{words}", flush=True); os.abort()')
    assert postmortem.find_cause(run).label == "Out of memory"


def test_one_that_ends_by_itself_and_says_nothing_is_told_by_its_status(tmp_path: Path, stage: Stage) -> None:
    found = postmortem.find_cause(stage.gone(tmp_path, "raise SystemExit(7)"))
    assert (found.label, "status 7" in found.explanation) == ("Ended without a message", True)


@posix
def test_one_that_was_ended_by_force_is_not_called_dead(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "TERMINATE_TIMEOUT_SECONDS", 0.3)
    run = stage.start(tmp_path, DEAF)
    until(lambda: run.read_events()[0])
    launch.terminate_run(run)
    until(lambda: ended(run))
    assert run.liveness.get_status() == "stopped"
    assert postmortem.find_cause(run).label == "Ended on request"


@posix
def test_only_the_last_process_is_looked_at(tmp_path: Path, stage: Stage) -> None:
    run = stage.gone(tmp_path, "raise MemoryError")
    stage.code = HIMSELF.format("SIGKILL")
    launch.resume_training(run)
    until(lambda: ended(run))
    assert postmortem.find_cause(run).label == "Killed"
    assert "MemoryError" in run.log_path.read_text()
    assert postmortem.read_last_output(run) == ""


# --- what only the machine knows


def test_a_kill_while_the_kernel_freed_memory_was_for_want_of_it(tmp_path: Path) -> None:
    run = dead(tmp_path, code=-9, starved=True)
    assert postmortem.find_cause(run).label == "Out of memory"
    heartbeat.overwrite_json(
        run.path / "heartbeat", {"awake": 1.0, "time": 1.0, "step": 0.1, "memory": 7_430_000_000}, 256
    )
    assert "used 7.4 GB" in postmortem.find_cause(run).explanation


@pytest.mark.parametrize(("later", "starved"), [(2, False), (3, True)])
def test_what_the_kernel_ended_is_counted_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: int, *, starved: bool
) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 2\n")
    monkeypatch.setattr(machine, "find_oom_counter", lambda _: str(counter))
    run = fabricated_runs.make(tmp_path, [])
    run.liveness.set_owner(os.getpid())
    counter.write_text(f"oom_kill {later}\n")
    run.liveness.record_exit(os.getpid(), -9)
    record = run.liveness.read_process_record()
    assert record is not None
    assert record.starved is starved


@pytest.mark.parametrize("code", [1, -7])
def test_a_full_disk_is_told_where_no_word_could_be_written_any_more(tmp_path: Path, code: int) -> None:
    assert postmortem.find_cause(dead(tmp_path, code=code, free=100)).label == "The disk is full"


@pytest.mark.parametrize(
    "error",
    [
        "OSError: [Errno 28] No space left on device",
        "safetensors_rust.SafetensorError: I/O error: No space left on device (os error 28)",
        "OSError: [WinError 112] There is not enough space on the disk",
        "RuntimeError: [enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0",
    ],
)
def test_a_full_disk_is_told_by_the_error_that_it_gave(tmp_path: Path, error: str) -> None:
    log = f"Traceback (most recent call last):\n  File 'x', line 1, in <module>\n{error}\n"
    assert postmortem.find_cause(dead(tmp_path, code=1, log=log)).label == "The disk is full"


def test_a_full_disk_that_was_told_in_our_own_words_is_told_in_them(tmp_path: Path) -> None:
    sentence = str(RunError("run.write", folder="/runs", cause="No space left on device"))
    found = postmortem.find_cause(dead(tmp_path, code=2, log=f"Epoch 1\nftlab: {sentence}\n"))
    assert (found.label, found.explanation) == ("The disk is full", sentence)


@pytest.mark.parametrize(
    ("code", "word", "says"),
    [
        (0xC0000005, "Crashed", "access violation"),
        (0xC00000FD, "Crashed", "stack overflow"),
        (0xC0000017, "Out of memory", "smaller batch"),
        (0xC000013A, "Terminated from outside", "Ctrl+C"),
        (0xC0000142, "Crashed", "0xC0000142"),
    ],
)
def test_windows_numbers_are_told_in_words(tmp_path: Path, code: int, word: str, says: str) -> None:
    found = postmortem.find_cause(dead(tmp_path, code=code))
    assert found.label == word
    assert says in found.explanation


# --- ends that nobody saw


def test_nobody_saw_it_and_there_is_no_trace(tmp_path: Path) -> None:
    assert postmortem.find_cause(dead(tmp_path)).label == "Ended without a message"


def test_nobody_saw_it_but_it_crashed(tmp_path: Path) -> None:
    found = postmortem.find_cause(dead(tmp_path, log="Fatal Python error: Segmentation fault\n\nCurrent thread …\n"))
    assert (found.label, "Segmentation fault" in found.explanation) == ("Crashed", True)


def test_a_fault_that_a_library_mended_is_not_the_end(tmp_path: Path) -> None:
    log = "Windows fatal exception: code 0xe06d7363\n\nCurrent thread 0x1\n  File x\nready\nlast\n"
    assert postmortem.read_last_output(dead(tmp_path, code=1, log=log)).endswith("ready\nlast")
    assert postmortem.read_last_output(dead(tmp_path, code=1, log=log)).startswith("Windows fatal")
    crashed = "Windows fatal exception: access violation\n\nCurrent thread 0x2\n  File y\n"
    assert postmortem.read_last_output(dead(tmp_path, code=0xC0000005, log=log + crashed)).endswith(
        "thread 0x2\n  File y"
    )
    assert "File x" not in postmortem.read_last_output(dead(tmp_path, code=0xC0000005, log=log + crashed))


def test_nobody_saw_it_since_the_machine_was_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = dead(tmp_path)
    monkeypatch.setattr(machine, "get_boot_time", lambda: time.time() + 60)
    assert postmortem.find_cause(run).label == "The machine was restarted"


def test_nobody_saw_it_but_the_kernel_counted(tmp_path: Path) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 3\n")
    assert postmortem.find_cause(dead(tmp_path, counter=str(counter), kills=2)).label == "Out of memory"
    assert postmortem.find_cause(dead(tmp_path, counter=str(counter), kills=3)).label == "Ended without a message"


def test_nobody_saw_it_and_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = dead(tmp_path)
    monkeypatch.setattr(process_record, "try_get_free_bytes", lambda _: 0)
    assert postmortem.find_cause(run).label == "The disk is full"


def test_a_run_that_no_process_took_up(tmp_path: Path) -> None:
    assert postmortem.find_cause(fabricated_runs.make(tmp_path, [])).label == "Never started"


def test_a_run_of_an_older_version_has_a_cause_too(tmp_path: Path) -> None:
    assert (
        postmortem.find_cause(fabricated_runs.make(tmp_path, fabricated_runs.story())).label
        == "Ended without a message"
    )


# --- words


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "The training ran out of memory (MemoryError). Close other programs"),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
            "The training ran out of memory (RuntimeError: CUDA out",
        ),
        (OSError(28, "No space left on device"), "The disk with the runs is full"),
        (DataError("data.missing", folder="x"), "There is no folder x."),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_an_error_is_told_in_our_own_words_where_there_are_some(error: Exception, says: str) -> None:
    assert postmortem.describe_error(error).startswith(says)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"\x1b[31mred\x1b[0m and \x1b]0;title\x07plain", "red and plain"),
        (b"Features:  10%\rFeatures:  50%\rFeatures: 100%\ndone\r\n", "Features: 100%\ndone"),
        (b"bell\x07 null\x00 tab\tkept", "bell null tab\tkept"),
        ("turned \u202egnp.exe\u202c".encode(), "turned gnp.exe"),
        (b"not text: \xff\xfe", "not text: \ufffd\ufffd"),
        (b"a  \n\n\nb\n\n", "a\n\n\nb"),
        (b"    1 / 0\n    ~~^~~\nZeroDivisionError\n", "1 / 0\nZeroDivisionError"),
        (b"", ""),
    ],
    ids=["colours", "progress", "control", "direction", "bytes", "blanks", "underlined", "empty"],
)
def test_last_words_are_as_a_terminal_would_show_them(tmp_path: Path, written: bytes, shown: str) -> None:
    run = fabricated_runs.make(tmp_path, [])
    run.log_path.write_bytes(written)
    assert postmortem.read_last_output(run) == shown


def test_last_words_are_few(tmp_path: Path) -> None:
    run = fabricated_runs.make(tmp_path, [])
    run.log_path.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert postmortem.read_last_output(run).splitlines() == [f"line {number}" for number in range(9985, 10_000)]
    run.log_path.write_text("x" * 100_000)
    assert len(postmortem.read_last_output(run)) == postmortem.MAX_OUTPUT_CHARS


@posix
def test_a_paused_process_is_told_from_one_that_works(tmp_path: Path, stage: Stage) -> None:
    run = stage.start(tmp_path, OBEDIENT)
    until(lambda: run.read_events()[0])
    assert postmortem.describe_silence(run) == ""
    paused = psutil.Process(stage.processes[0].pid)
    paused.suspend()
    until(lambda: paused.status() == psutil.STATUS_STOPPED)
    assert "paused" in postmortem.describe_silence(run)


def test_a_process_that_is_gone_waits_for_nothing(tmp_path: Path) -> None:
    assert postmortem.describe_silence(dead(tmp_path)) == ""


def test_every_cause_has_its_words() -> None:
    codes = {*postmortem.SIGNAL_CAUSES.values(), *(code for code, _ in postmortem.WINDOWS_STATUS_CAUSES.values())}
    for code in codes:
        assert DeathCause(code).label
        assert DeathCause(code, {"signal": "x"}).explanation
