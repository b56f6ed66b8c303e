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
from ftlab.runs.process_record import Record
from ftlab.runs.directory import Run

LINES, BYTES = 15, 4000
"""How much of a process's own output is shown as its last words, at most."""
_FAR = 64_000
"""Bytes from the end of the log in which an exception is looked for: its message may be long."""
_LONG = 600
"""Characters of a message that are told."""
_FULL = 2**20
"""Bytes: with less than this free, a disk is full."""
_BOOT = 5.0
"""Seconds by which the start of the machine may be told wrongly."""

_MEMORY = re.compile(
    r"MemoryError|out of memory|bad_alloc|[Cc]annot allocate memory|can't allocate memory|not enough memory|"
    r"[Uu]nable to allocate|paging file is too small"
)
_DISK = re.compile(
    r"No space left on device|os error 28\b|Errno 28\b|not enough space on the disk|WinError 112\b|"
    r"Disk quota exceeded|PytorchStreamWriter failed|unexpected pos"
)
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(: .*)?$")
_FATAL = re.compile(r"(?:Fatal Python error|Windows fatal exception): (.+)")
_SIGNALS = {
    "SIGKILL": "killed",
    **dict.fromkeys(("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"), "closed"),
    **dict.fromkeys(("SIGXCPU", "SIGXFSZ"), "limit"),
    "SIGILL": "instruction",
    "SIGBUS": "bus",
}
_OURS = "ftlab: "
"""How the command line begins a sentence of its own."""
_NTSTATUS = 0xC0000000
"""Exit statuses from here on are errors of Windows itself."""
_WINDOWS = {
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
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_UNDERLINE = re.compile(r" +[~^]+")
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Cause:
    """Why a process is gone.

    Attributes:
        code: `death.word.<code>` names it, `death.why.<code>` says it and what to do.
        values: what the sentence names.
    """

    code: str
    values: Mapping[str, object] = field(default_factory=dict)

    @property
    def word(self) -> str:
        return messages.text(f"death.word.{self.code}")

    @property
    def why(self) -> str:
        return messages.text(f"death.why.{self.code}", **self.values)


def cause(run: Run) -> Cause:
    """Why the last process of a run ended without a word, as well as it can be told."""
    record = run.record()
    if run.end_asked():
        return Cause("ended")
    if record is None:
        return Cause("gone" if (run.path / "metrics.jsonl").exists() else "unclaimed")
    said, ours = _said(_output(run))
    found = _of_words(said, "told" if ours else "said")
    if found is not None:
        return found
    if record.code is not None:
        return _of_status(record.code, said, run, record)
    return _of_traces(said, run, record)


def of_log(log: Path) -> Cause:
    """The same of a process that left nothing but its output."""
    output = _read(log)
    said, ours = _said(output)
    fatal = _crash(output)
    if fatal:
        return Cause("crash", {"signal": fatal[1]})
    message = said or output.rpartition("\n")[2][:_LONG]
    return _of_words(message, "told" if ours else "said") or (
        Cause("failed", {"message": message}) if message else Cause("gone")
    )


def told(error: BaseException) -> str:
    """An error as a person is told it: in our own words where there are some."""
    if isinstance(error, FtlabError):
        return str(error)
    line = "".join(traceback.format_exception_only(error)).strip()
    known = _of_words(line)
    return known.why if known else line


def silence(run: Run) -> str:
    """What a silent process is waiting for, as a sentence; empty where that is not to be seen."""
    waits = run.process()
    try:
        status = waits.status() if waits else ""
    except psutil.Error:
        return ""
    if status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
        return messages.text("death.silence.paused")
    return messages.text("death.silence.disk") if status == psutil.STATUS_DISK_SLEEP else ""


def last_words(run: Run) -> str:
    """The last lines of the last process's own output, as a terminal would show them; empty when there are none. Where
    the interpreter crashed they are the innermost ones of the thread that did."""
    output, record = _output(run), run.record()
    # Windows tells faults by the same words that a library then mended: they count only where one was the end.
    orderly = record is not None and record.code is not None and 0 <= record.code < _NTSTATUS
    crash = None if orderly else _crash(output)
    if crash is None:
        return "\n".join(output[-BYTES:].strip().splitlines()[-LINES:])
    thread = output.find("Current thread", crash.end())
    lines = [crash[0], *output[max(thread, crash.end()) :].strip().splitlines()]
    return "\n".join(lines[:LINES])[:BYTES]


def _crash(output: str) -> re.Match[str] | None:
    """Where the interpreter tells that it crashed, the last time it does."""
    return next(reversed([*_FATAL.finditer(output)]), None)


def _output(run: Run) -> str:
    """The end of what the last process wrote."""
    record = run.record()
    return _read(run.log, record.log if record else 0)


def _read(log: Path, begin: int = 0) -> str:
    """The end of what was written after `begin`, without colours and control characters, without the underlining of a
    traceback, and of a progress bar its last state only."""
    try:
        with open(log, "rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(begin if begin <= size else 0, size - _FAR))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in _ANSI.sub("", text).split("\n")]
    shown = [_INVISIBLE.sub("", line).rstrip() for line in lines]
    return "\n".join(line for line in shown if not _UNDERLINE.fullmatch(line)).strip()


def _said(output: str) -> tuple[str, bool]:
    """The line in which an output says what went wrong, empty where there is none; and whether the words are ours."""
    lines = output.splitlines()
    heads = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    after = lines[heads[-1] + 1 :] if heads else []
    raised = next((line for line in after if _EXCEPTION.match(line)), "")
    if raised:
        return raised[:_LONG], False
    ours = [line.removeprefix(_OURS) for line in lines if line.startswith(_OURS)]
    library = [line.strip() for line in lines if "what():" in line or "std::bad_alloc" in line]
    return (ours or library or [""])[-1][:_LONG], bool(ours)


def _of_words(line: str, how: str = "said") -> Cause | None:
    kind = "memory" if _MEMORY.search(line) else "disk" if _DISK.search(line) else ""
    return Cause(f"{kind}_{how}", {"said": line}) if kind else None


def _of_status(code: int, said: str, run: Run, record: Record) -> Cause:
    if code < 0:
        return _of_signal(-code, run, record)
    if code >= _NTSTATUS:
        kind, what = _WINDOWS.get(code, ("crash", f"0x{code:08X}"))
        return _out_of_memory(run) if kind == "memory" else Cause(kind, {"signal": what})
    if code and said:
        return Cause("failed", {"message": said})
    if code and record.free is not None and record.free < _FULL:
        return Cause("disk")
    return Cause("exit", {"code": code})


def _of_signal(number: int, run: Run, record: Record) -> Cause:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = str(number)
    if name == "SIGKILL" and record.starved:
        return _out_of_memory(run)
    if name == "SIGBUS" and record.free is not None and record.free < _FULL:
        return Cause("disk")
    return Cause(_SIGNALS.get(name, "crash"), {"signal": name})


def _of_traces(said: str, run: Run, record: Record) -> Cause:
    """Nobody saw it end: the page was closed, or it was started on a terminal."""
    fatal = _crash(_output(run))
    if fatal:
        return Cause("crash", {"signal": fatal[1]})
    if said:
        return Cause("failed", {"message": said})
    heard = run.pulse()
    if max(record.since, heard.time if heard else 0.0) < machine.started() - _BOOT:
        return Cause("restart")
    if record.starved_since():
        return _out_of_memory(run)
    free = process_record.free(run.path)
    return Cause("disk") if free is not None and free < _FULL else Cause("gone")


def _out_of_memory(run: Run) -> Cause:
    heard = run.pulse()
    if heard is None or not heard.memory:
        return Cause("memory")
    return Cause("memory_used", {"used": f"{heard.memory / 1e9:.1f}"})
