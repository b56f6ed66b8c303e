"""Why a process ended that could not say so itself, or is silent: in words, from what it left behind. No torch.

What is known comes from its exit status (`process.json`, when whoever started it saw its end), from its last lines in
`worker.log`, and from the machine: free disk, what the kernel ended for want of memory, when it was started.
"""

from __future__ import annotations

import re
import signal
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ftlab.core import machine, messages
from ftlab.runs import process_record
from ftlab.core.errors import FtlabError
from ftlab.runs.process_record import ProcessRecord
from ftlab.runs.directory import Run

MAX_OUTPUT_LINES, MAX_OUTPUT_CHARS = 15, 4000
"""How much of a process's own output is shown as its last words, at most."""
_LOG_TAIL_BYTES = 64_000
"""Bytes from the end of the log in which an exception is looked for: its message may be long."""
_MAX_MESSAGE_CHARS = 600
"""Characters of a message that are told."""
_DISK_FULL_BYTES = 2**20
"""Bytes: with less than this free, a disk is full."""
_BOOT_TIME_TOLERANCE_SECONDS = 5.0
"""Seconds by which the start of the machine may be told wrongly."""

_OUT_OF_MEMORY_PATTERN = re.compile(
    r"MemoryError|out of memory|bad_alloc|[Cc]annot allocate memory|can't allocate memory|not enough memory|"
    r"[Uu]nable to allocate|paging file is too small"
)
_DISK_FULL_PATTERN = re.compile(
    r"No space left on device|os error 28\b|Errno 28\b|not enough space on the disk|WinError 112\b|"
    r"Disk quota exceeded|PytorchStreamWriter failed|unexpected pos"
)
_EXCEPTION_LINE_PATTERN = re.compile(r"[A-Za-z_][\w.]*(: .*)?$")
_FATAL_ERROR_PATTERN = re.compile(r"(?:Fatal Python error|Windows fatal exception): (.+)")
SIGNAL_CAUSES = {
    "SIGKILL": "killed",
    **dict.fromkeys(("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"), "closed"),
    **dict.fromkeys(("SIGXCPU", "SIGXFSZ"), "limit"),
    "SIGILL": "instruction",
    "SIGBUS": "bus",
}
_FTLAB_PREFIX = "ftlab: "
"""How the command line begins a sentence of its own."""
_MIN_NTSTATUS_ERROR = 0xC0000000
"""Exit statuses from here on are errors of Windows itself."""
WINDOWS_STATUS_CAUSES = {
    0xC0000005: ("crash", "access violation"),
    0xC000001D: ("instruction", "illegal instruction"),
    0xC0000017: ("memory", ""),
    0xC000012D: ("memory", ""),
    0xC00000FD: ("crash", "stack overflow"),
    0xC0000135: ("crash", "a DLL is missing"),
    0xC0000374: ("crash", "heap corruption"),
    0xC0000409: ("crash", "abort"),
    0xC000013A: ("closed", "Ctrl+C"),
}
_ANSI_ESCAPE_PATTERN = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_UNDERLINE_PATTERN = re.compile(r" +[~^]+")
_INVISIBLE_CHARS_PATTERN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class DeathCause:
    """Why a process is gone.

    Attributes:
        code: `death.word.<code>` names it, `death.why.<code>` says it and what to do.
        values: what the sentence names.
    """

    code: str
    values: Mapping[str, object] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return messages.get_text(f"death.word.{self.code}")

    @property
    def explanation(self) -> str:
        return messages.get_text(f"death.why.{self.code}", **self.values)


def find_cause(run: Run) -> DeathCause:
    """Why the last process of a run ended without a word, as well as it can be told."""
    record = run.read_process_record()
    if run.is_force_stopped():
        return DeathCause("ended")
    if record is None:
        return DeathCause("gone" if (run.path / "metrics.jsonl").exists() else "unclaimed")
    error_line, is_ftlab_error = _find_error_line(_read_run_output(run))
    message_cause = _cause_from_message(error_line, "told" if is_ftlab_error else "said")
    if message_cause is not None:
        return message_cause
    if record.code is not None:
        return _cause_from_exit_code(record.code, error_line, run, record)
    return _cause_from_traces(error_line, run, record)


def find_cause_in_log(log: Path) -> DeathCause:
    """The same of a process that left nothing but its output."""
    output = _read_log_tail(log)
    error_line, is_ftlab_error = _find_error_line(output)
    fatal_match = _find_fatal_error(output)
    if fatal_match:
        return DeathCause("crash", {"signal": fatal_match[1]})
    message = error_line or output.rpartition("\n")[2][:_MAX_MESSAGE_CHARS]
    return _cause_from_message(message, "told" if is_ftlab_error else "said") or (
        DeathCause("failed", {"message": message}) if message else DeathCause("gone")
    )


def describe_error(error: BaseException) -> str:
    """An error as a person is told it: in our own words where there are some."""
    if isinstance(error, FtlabError):
        return str(error)
    line = "".join(traceback.format_exception_only(error)).strip()
    message_cause = _cause_from_message(line)
    return message_cause.explanation if message_cause else line


def describe_silence(run: Run) -> str:
    """What a silent process is waiting for, as a sentence; empty where that is not to be seen."""
    process = run.find_process()
    try:
        status = process.status() if process else ""
    except psutil.Error:
        return ""
    if status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
        return messages.get_text("death.silence.paused")
    return messages.get_text("death.silence.disk") if status == psutil.STATUS_DISK_SLEEP else ""


def read_last_output(run: Run) -> str:
    """The last lines of the last process's own output, as a terminal would show them; empty when there are none. Where
    the interpreter crashed they are the innermost ones of the thread that did."""
    output, record = _read_run_output(run), run.read_process_record()
    # Windows tells faults by the same words that a library then mended: they count only where one was the end.
    exited_normally = record is not None and record.code is not None and 0 <= record.code < _MIN_NTSTATUS_ERROR
    fatal_match = None if exited_normally else _find_fatal_error(output)
    if fatal_match is None:
        return "\n".join(output[-MAX_OUTPUT_CHARS:].strip().splitlines()[-MAX_OUTPUT_LINES:])
    thread_start = output.find("Current thread", fatal_match.end())
    lines = [fatal_match[0], *output[max(thread_start, fatal_match.end()) :].strip().splitlines()]
    return "\n".join(lines[:MAX_OUTPUT_LINES])[:MAX_OUTPUT_CHARS]


def _find_fatal_error(output: str) -> re.Match[str] | None:
    """Where the interpreter tells that it crashed, the last time it does."""
    return next(reversed([*_FATAL_ERROR_PATTERN.finditer(output)]), None)


def _read_run_output(run: Run) -> str:
    """The end of what the last process wrote."""
    record = run.read_process_record()
    return _read_log_tail(run.log_path, record.log if record else 0)


def _read_log_tail(log: Path, start_offset: int = 0) -> str:
    """The end of what was written after `start_offset`, without colours and control characters, without the underlining of a
    traceback, and of a progress bar its last state only."""
    try:
        with open(log, "rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(start_offset if start_offset <= size else 0, size - _LOG_TAIL_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in _ANSI_ESCAPE_PATTERN.sub("", text).split("\n")]
    visible_lines = [_INVISIBLE_CHARS_PATTERN.sub("", line).rstrip() for line in lines]
    return "\n".join(line for line in visible_lines if not _UNDERLINE_PATTERN.fullmatch(line)).strip()


def _find_error_line(output: str) -> tuple[str, bool]:
    """The line in which an output says what went wrong, empty where there is none; and whether the words are ours."""
    lines = output.splitlines()
    traceback_starts = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    traceback_lines = lines[traceback_starts[-1] + 1 :] if traceback_starts else []
    exception_line = next((line for line in traceback_lines if _EXCEPTION_LINE_PATTERN.match(line)), "")
    if exception_line:
        return exception_line[:_MAX_MESSAGE_CHARS], False
    ftlab_lines = [line.removeprefix(_FTLAB_PREFIX) for line in lines if line.startswith(_FTLAB_PREFIX)]
    library_lines = [line.strip() for line in lines if "what():" in line or "std::bad_alloc" in line]
    return (ftlab_lines or library_lines or [""])[-1][:_MAX_MESSAGE_CHARS], bool(ftlab_lines)


def _cause_from_message(line: str, code_suffix: str = "said") -> DeathCause | None:
    resource = "memory" if _OUT_OF_MEMORY_PATTERN.search(line) else "disk" if _DISK_FULL_PATTERN.search(line) else ""
    return DeathCause(f"{resource}_{code_suffix}", {"said": line}) if resource else None


def _cause_from_exit_code(exit_code: int, error_line: str, run: Run, record: ProcessRecord) -> DeathCause:
    if exit_code < 0:
        return _cause_from_signal(-exit_code, run, record)
    if exit_code >= _MIN_NTSTATUS_ERROR:
        cause_code, detail = WINDOWS_STATUS_CAUSES.get(exit_code, ("crash", f"0x{exit_code:08X}"))
        return _out_of_memory_cause(run) if cause_code == "memory" else DeathCause(cause_code, {"signal": detail})
    if exit_code and error_line:
        return DeathCause("failed", {"message": error_line})
    if exit_code and record.free is not None and record.free < _DISK_FULL_BYTES:
        return DeathCause("disk")
    return DeathCause("exit", {"code": exit_code})


def _cause_from_signal(signal_number: int, run: Run, record: ProcessRecord) -> DeathCause:
    try:
        signal_name = signal.Signals(signal_number).name
    except ValueError:
        signal_name = str(signal_number)
    if signal_name == "SIGKILL" and record.starved:
        return _out_of_memory_cause(run)
    if signal_name == "SIGBUS" and record.free is not None and record.free < _DISK_FULL_BYTES:
        return DeathCause("disk")
    return DeathCause(SIGNAL_CAUSES.get(signal_name, "crash"), {"signal": signal_name})


def _cause_from_traces(error_line: str, run: Run, record: ProcessRecord) -> DeathCause:
    """Nobody saw it end: the page was closed, or it was started on a terminal."""
    fatal_match = _find_fatal_error(_read_run_output(run))
    if fatal_match:
        return DeathCause("crash", {"signal": fatal_match[1]})
    if error_line:
        return DeathCause("failed", {"message": error_line})
    last_beat = run.read_last_beat()
    if max(record.since, last_beat.time if last_beat else 0.0) < machine.get_boot_time() - _BOOT_TIME_TOLERANCE_SECONDS:
        return DeathCause("restart")
    if record.detect_oom_kills():
        return _out_of_memory_cause(run)
    free_bytes = process_record.try_get_free_bytes(run.path)
    return DeathCause("disk") if free_bytes is not None and free_bytes < _DISK_FULL_BYTES else DeathCause("gone")


def _out_of_memory_cause(run: Run) -> DeathCause:
    last_beat = run.read_last_beat()
    if last_beat is None or not last_beat.memory_bytes:
        return DeathCause("memory")
    return DeathCause("memory_used", {"used": f"{last_beat.memory_bytes / 1e9:.1f}"})
