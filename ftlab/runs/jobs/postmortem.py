"""Cause of death of a training process that left no `Ended` event, or of its silence, in words. No torch.

The evidence is its exit status (`process.json`, where the process that started it saw the end), its last lines in
`worker.log`, and the machine: free disk space, out-of-memory kills of the kernel, and the time of the last boot.
"""

from __future__ import annotations

import re
import signal
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ftlab.core import file_io, machine, messages
from ftlab.core.errors import FtlabError
from ftlab.runs import process_record
from ftlab.runs.directory import Run
from ftlab.runs.process_record import ProcessRecord

MAX_OUTPUT_LINES, MAX_OUTPUT_CHARS = 15, 4000
"""Maximum number of lines and characters of a process's output that are shown as its last output."""
_LOG_TAIL_BYTES = 64_000
"""Bytes at the end of the log that are searched for an exception: its message may be long."""
_MAX_MESSAGE_CHARS = 600
"""Maximum number of characters of an error message that are shown."""
_DISK_FULL_BYTES = 2**20
"""Free bytes below which a disk counts as full."""
_BOOT_TIME_TOLERANCE_SECONDS = 5.0
"""Possible error of the boot time in seconds."""

_OUT_OF_MEMORY_PATTERN = re.compile(
    r"MemoryError|out of memory|bad_alloc|[Cc]annot allocate memory|can't allocate memory|not enough memory|"
    r"[Uu]nable to allocate|paging file is too small"
)
# The last two are what torch.save reports when a write fails: it does not pass on the error of the system.
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
"""Prefix of the error messages of the command line."""
_MIN_NTSTATUS_ERROR = 0xC0000000
"""Exit statuses from here on are NTSTATUS errors of Windows itself, not of the program."""
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
    """Cause of death of a process.

    Attributes:
        code: keys of the messages: `death.word.<code>` is its name, `death.why.<code>` explains it and says what to do.
        values: values to insert into the explanation.
    """

    code: str
    values: Mapping[str, object] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name of the cause in a few words."""
        return messages.get_text(f"death.word.{self.code}")

    @property
    def explanation(self) -> str:
        """The cause and the remedy as a sentence."""
        return messages.get_text(f"death.why.{self.code}", **self.values)


def find_cause(run: Run) -> DeathCause:
    """Return why the last process of a run ended without an `Ended` event, as far as the evidence tells."""
    record = run.liveness.read_process_record()
    if run.liveness.is_force_stopped():
        return DeathCause("ended")
    if record is None:
        return DeathCause("gone" if (run.path / "metrics.jsonl").exists() else "unclaimed")
    error_line, is_ftlab_error = _find_error_line(_read_run_output(run))
    # The message first: an allocation that failed exits with an ordinary status, which says less.
    message_cause = _cause_from_message(error_line, "told" if is_ftlab_error else "said")
    if message_cause is not None:
        return message_cause
    if record.code is not None:
        return _cause_from_exit_code(record.code, error_line, run, record)
    return _cause_from_traces(error_line, run, record)


def find_cause_in_log(log: Path) -> DeathCause:
    """Return why a process ended that left nothing but its output, in a log file."""
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
    """Return an error as a sentence for people: ftlab's own explanation where there is one, else its last line."""
    if isinstance(error, FtlabError):
        return str(error)
    line = "".join(traceback.format_exception_only(error)).strip()
    message_cause = _cause_from_message(line)
    return message_cause.explanation if message_cause else line


def describe_silence(run: Run) -> str:
    """Return what a silent process is waiting for, as a sentence; empty where that cannot be seen."""
    process = run.liveness.find_process()
    try:
        status = process.status() if process else ""
    except psutil.Error:
        return ""
    if status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
        return messages.get_text("death.silence.paused")
    return messages.get_text("death.silence.disk") if status == psutil.STATUS_DISK_SLEEP else ""


def read_last_output(run: Run) -> str:
    """Return the last lines of the output of the last process, as a terminal would show them.

    Returns:
        The lines; empty where there are none. If the interpreter crashed, they are the innermost frames of the thread
        that crashed.
    """
    output, record = _read_run_output(run), run.liveness.read_process_record()
    # On Windows the fault handler also reports exceptions that a library then handles: they count only where the
    # process ended by one.
    exited_normally = record is not None and record.code is not None and 0 <= record.code < _MIN_NTSTATUS_ERROR
    fatal_match = None if exited_normally else _find_fatal_error(output)
    if fatal_match is None:
        return "\n".join(output[-MAX_OUTPUT_CHARS:].strip().splitlines()[-MAX_OUTPUT_LINES:])
    thread_start = output.find("Current thread", fatal_match.end())
    lines = [fatal_match[0], *output[max(thread_start, fatal_match.end()) :].strip().splitlines()]
    return "\n".join(lines[:MAX_OUTPUT_LINES])[:MAX_OUTPUT_CHARS]


def _find_fatal_error(output: str) -> re.Match[str] | None:
    """Return the last report of an interpreter crash in an output; None where there is none."""
    return next(reversed([*_FATAL_ERROR_PATTERN.finditer(output)]), None)


def _read_run_output(run: Run) -> str:
    """Return the end of the output of the last process of a run."""
    record = run.liveness.read_process_record()
    return _read_log_tail(run.log_path, record.log if record else 0)


def _read_log_tail(log: Path, start_offset: int = 0) -> str:
    """Read the end of a log as a terminal would show it.

    Args:
        log: the log file.
        start_offset: byte at which the output of the process begins.

    Returns:
        At most `_LOG_TAIL_BYTES` of text without colours, control characters and the underlines of a traceback, and
        with only the last state of a progress bar; empty where the file cannot be read.
    """
    try:
        with file_io.open_regular_file(log) as stream:
            size = stream.seek(0, 2)
            # An offset beyond the end means that the log was truncated: then all of it counts.
            stream.seek(max(start_offset if start_offset <= size else 0, size - _LOG_TAIL_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    # A progress bar redraws its line after a carriage return: what follows the last one is its last state.
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in _ANSI_ESCAPE_PATTERN.sub("", text).split("\n")]
    visible_lines = [_INVISIBLE_CHARS_PATTERN.sub("", line).rstrip() for line in lines]
    return "\n".join(line for line in visible_lines if not _UNDERLINE_PATTERN.fullmatch(line)).strip()


def _find_error_line(output: str) -> tuple[str, bool]:
    """Find the line of an output that says what went wrong.

    Returns:
        The line, empty where there is none; and whether it is an error message of ftlab itself.
    """
    lines = output.splitlines()
    traceback_starts = [
        number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")
    ]
    traceback_lines = lines[traceback_starts[-1] + 1 :] if traceback_starts else []
    exception_line = next((line for line in traceback_lines if _EXCEPTION_LINE_PATTERN.match(line)), "")
    if exception_line:
        return exception_line[:_MAX_MESSAGE_CHARS], False
    ftlab_lines = [line.removeprefix(_FTLAB_PREFIX) for line in lines if line.startswith(_FTLAB_PREFIX)]
    library_lines = [line.strip() for line in lines if "what():" in line or "std::bad_alloc" in line]
    return (ftlab_lines or library_lines or [""])[-1][:_MAX_MESSAGE_CHARS], bool(ftlab_lines)


def _cause_from_message(line: str, code_suffix: str = "said") -> DeathCause | None:
    """Return the cause if a message reports lack of memory or disk space, else None.

    Args:
        line: the message.
        code_suffix: `told` for a message of ftlab itself, `said` for one of a library.
    """
    resource = "memory" if _OUT_OF_MEMORY_PATTERN.search(line) else "disk" if _DISK_FULL_PATTERN.search(line) else ""
    return DeathCause(f"{resource}_{code_suffix}", {"said": line}) if resource else None


def _cause_from_exit_code(exit_code: int, error_line: str, run: Run, record: ProcessRecord) -> DeathCause:
    """Return the cause that an exit status points to.

    Args:
        exit_code: exit status, below 0 the number of the signal that ended the process.
        error_line: as `_find_error_line` returns it.
        run: the run.
        record: its last process.
    """
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
    """Return the cause that a signal points to.

    Args:
        signal_number: number of the signal, above 0.
        run: the run.
        record: its last process.
    """
    try:
        signal_name = signal.Signals(signal_number).name
    except ValueError:
        signal_name = str(signal_number)
    if signal_name == "SIGKILL" and record.starved:
        return _out_of_memory_cause(run)
    # A page of a mapped file that the full disk cannot hold ends in SIGBUS.
    if signal_name == "SIGBUS" and record.free is not None and record.free < _DISK_FULL_BYTES:
        return DeathCause("disk")
    return DeathCause(SIGNAL_CAUSES.get(signal_name, "crash"), {"signal": signal_name})


def _cause_from_traces(error_line: str, run: Run, record: ProcessRecord) -> DeathCause:
    """Return the cause where nobody saw the exit status: the page was closed, or the process was started on a terminal.

    Args:
        error_line: as `_find_error_line` returns it.
        run: the run.
        record: its last process.
    """
    fatal_match = _find_fatal_error(_read_run_output(run))
    if fatal_match:
        return DeathCause("crash", {"signal": fatal_match[1]})
    if error_line:
        return DeathCause("failed", {"message": error_line})
    last_beat = run.liveness.read_last_beat()
    if max(record.since, last_beat.time if last_beat else 0.0) < machine.get_boot_time() - _BOOT_TIME_TOLERANCE_SECONDS:
        return DeathCause("restart")
    if record.detect_oom_kills():
        return _out_of_memory_cause(run)
    free_bytes = process_record.try_get_free_bytes(run.path)
    return DeathCause("disk") if free_bytes is not None and free_bytes < _DISK_FULL_BYTES else DeathCause("gone")


def _out_of_memory_cause(run: Run) -> DeathCause:
    """Return lack of memory as the cause, with the memory of the process at its last heartbeat where that is known."""
    last_beat = run.liveness.read_last_beat()
    if last_beat is None or not last_beat.memory_bytes:
        return DeathCause("memory")
    return DeathCause("memory_used", {"used": f"{last_beat.memory_bytes / 1e9:.1f}"})
