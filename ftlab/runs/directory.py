"""The run directory: the only protocol between a training and whoever watches it. No torch.

`<root>/<stamp>-<backbone>-<mode>-<id>/`
    config.json         the configuration, written before the process exists; and what was resolved at its start
    about.json          what a person calls it, and notes on it
    split.json          which file went where, what was skipped, the manifest's hash
    metrics.jsonl       every event, append-only
    model.json          what a prediction needs beside the weights
    best.safetensors    weights of the best epoch by validation
    decision.json       how the best model's probabilities are to be read
    evaluation/         what it said of labelled pictures
    epochs/             weights of single epochs, where they are kept
    last/               what a resume needs, in two generations
    worker.log          standard output and error of the process
    pid                 the process that trains
    heartbeat           its last sign of life
    process.json        what is known of it from outside, and of its end
    stop                asks it to end, by existing; `now` in it: it was ended by force
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from ftlab.core import file_io
from ftlab.runs import process_record
from ftlab.config.train_config import TrainConfig, from_json
from ftlab.core.errors import RunError
from ftlab.runs.events import Ended, Event, from_line
from ftlab.runs.heartbeat import Heart, Pulse, pulse
from ftlab.runs.history import History
from ftlab.runs.process_record import Record

LIVE = ("waiting", "running", "hanging")
_PATIENCE = 60.0
"""Seconds after which a run that no process took up counts as died, so that it can be resumed."""
_NOW = "now"
"""What stands in `stop` when the process is ended by force."""


class Run:
    """One run directory. Holds nothing in memory: any number of objects and processes may look at one."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        return self.path / "last" / "state.safetensors"

    @property
    def before(self) -> Path:
        """The generation before `last`."""
        return self.path / "last" / "before.safetensors"

    @property
    def epochs(self) -> Path:
        """Where the weights of single epochs are kept, on demand."""
        return self.path / "epochs"

    @property
    def log(self) -> Path:
        return self.path / "worker.log"

    def config(self) -> TrainConfig:
        """The configuration it was started with."""
        return from_json(self.read("config.json")["config"])

    def resolve(self, **chosen: object) -> None:
        """Add to what was chosen for this run, so that a resume goes on likewise.

        Raises:
            RunError: `config.json` cannot be read or written.
        """
        stored = self.read("config.json")
        self.write("config.json", {**stored, "resolved": {**stored["resolved"], **chosen}})

    def resolved(self) -> TrainConfig:
        """The configuration with what was chosen at the start; the bare one before that."""
        stored = self.read("config.json")
        return from_json(stored.get("resolved") or stored["config"])

    def read(self, file: str) -> dict[str, Any]:
        """One of its JSON files.

        Raises:
            RunError: it is not there or cannot be read.
        """
        try:
            with open(self.path / file, encoding="utf-8") as stream:
                return dict(json.load(stream))
        except (OSError, ValueError, TypeError) as cause:
            raise RunError("run.file", run=self.name, file=file) from cause

    def fingerprint(self, file: str) -> str:
        """SHA-256 in hex of one of its files; empty where it is not there."""
        path = self.path / file
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    def write(self, file: str, values: dict[str, Any]) -> None:
        """Replace one of its JSON files in one go: a reader sees the old one or the new one, never half.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        with self.writing(), file_io.fresh(self.path / file) as part:
            part.write_text(json.dumps(values, indent=1, ensure_ascii=False), encoding="utf-8")

    def append(self, event: Event) -> None:
        """Add an event to `metrics.jsonl`; a reader sees it at once.

        A line that a killed process left unfinished is ended first, so that it spoils no other.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        with self.writing(), open(self.path / "metrics.jsonl", "a+b") as stream:
            if stream.seek(0, os.SEEK_END):
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":
                    stream.write(b"\n")
            stream.write(event.to_line().encode() + b"\n")

    def settle(self) -> None:
        """Make sure that what was appended is on the disk.

        Raises:
            RunError: it could not be written.
        """
        with self.writing():
            file_io.sync(self.path / "metrics.jsonl")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """What the system says when it cannot write here becomes a RunError, in one line."""
        try:
            yield
        except OSError as cause:
            raise RunError("run.write", folder=self.path.parent, cause=cause.strerror or cause) from cause

    def tail(self, offset: int = 0) -> tuple[list[Event], int]:
        """Events after a byte offset, and the offset to ask from next. A line still being written waits."""
        try:
            with open(self.path / "metrics.jsonl", "rb") as stream:
                stream.seek(offset)
                chunk = stream.read()
        except FileNotFoundError:
            return [], offset
        whole = chunk.rfind(b"\n") + 1
        # Not splitlines, which also breaks at characters that a file's name or a message may hold.
        lines = chunk[:whole].decode("utf-8", "replace").split("\n")
        return [event for event in map(from_line, lines) if event is not None], offset + whole

    def history(self) -> History:
        """All of its events, folded."""
        history = History()
        history.add(self.tail()[0])
        return history

    def ended(self) -> Ended | None:
        """The end that the last process told, None while one is at work or when it died without a word."""
        record = self.record()
        try:
            with open(self.path / "metrics.jsonl", "rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                if record is not None and size <= record.told:
                    return None  # what stands there was told by an earlier process
                start, last = size, b""
                while start and b"\n" not in last:  # a failure's message may be long
                    start = max(0, start - 8192)
                    stream.seek(start)
                    last = stream.read().removesuffix(b"\n")
        except FileNotFoundError:
            return None
        event = from_line(last.rpartition(b"\n")[2].decode("utf-8", "replace"))
        return event if isinstance(event, Ended) else None

    def status(self) -> str:
        """waiting (for its process to start), running, hanging (its process lives and is silent), finished, stopped,
        failed, or died (gone without a word: `jobs.autopsy` finds the cause)."""
        if self.alive():
            return "hanging" if self.hanging() else "running"
        ended = self.ended()
        if ended is None:
            return "stopped" if self.end_asked() else "waiting" if self._fresh() else "died"
        return {"time": "finished", "early": "finished"}.get(ended.reason, ended.reason)

    def _fresh(self) -> bool:
        """Whether no process has touched it yet, and it is not too late for one to come."""
        if (self.path / "pid").exists() or (self.path / "metrics.jsonl").exists():
            return False
        try:
            return time.time() - (self.path / "config.json").stat().st_mtime < _PATIENCE
        except OSError:
            return False

    def live(self) -> bool:
        """Whether a process works on it, or is about to."""
        return self.status() in LIVE

    def heart(self) -> Heart:
        """For the process that trains here: its `beat` says that work goes on."""
        return Heart(self.path / "heartbeat")

    def pulse(self) -> Pulse | None:
        """The last sign of life of the process, None where there never was one."""
        return pulse(self.path / "heartbeat")

    def hanging(self) -> bool:
        """Whether the last sign of life is too long ago."""
        heard = self.pulse()
        return heard is not None and heard.hanging

    def hand_to(self, pid: int, log: int = 0) -> None:
        """Name the process that trains here. An older wish to stop and an older end no longer count, and its silence
        begins now.

        Args:
            pid: of the process.
            log: byte of `worker.log` at which its own output begins.
        """
        self.withdraw_stop()
        Heart(self.path / "heartbeat", pid).beat()
        record = process_record.begin(self.path / "process.json", pid, log, self.tail()[1])
        self.write("pid", {"pid": pid, "created": record.created})

    def record(self) -> Record | None:
        """What is known of the last process that it was handed to."""
        return process_record.read(self.path / "process.json")

    def witness(self, pid: int, code: int) -> None:
        """Write down how a process ended (its exit status), unless another one trains here by now."""
        process_record.end(self.path / "process.json", pid, code)

    def claim(self) -> None:
        """Make this process the one that trains here, unless whoever started it said so already.

        Raises:
            RunError: another one does.
        """
        if not self.alive():
            self.hand_to(os.getpid())
        # A virtual environment's python on Windows is a launcher: what was started is then our parent.
        elif self.read("pid")["pid"] not in (os.getpid(), os.getppid()):
            raise RunError("run.busy", run=self.name)

    def release(self) -> None:
        """This process is done with it."""
        (self.path / "pid").unlink(missing_ok=True)

    def process(self) -> psutil.Process | None:
        """The process in `pid`, None when it is gone or another one has its number by now."""
        try:
            owner = json.loads((self.path / "pid").read_text(encoding="utf-8"))
            return process_record.find(owner["pid"], owner["created"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def alive(self) -> bool:
        """Whether the process in `pid` is still the one that wrote it."""
        return self.process() is not None

    def ask_stop(self) -> None:
        """Ask the process to end at its next step."""
        if not self.stop_asked():  # when it was asked first is to be known
            (self.path / "stop").touch()

    def ask_end(self) -> None:
        """Say that the process is ended by force, at a person's wish."""
        (self.path / "stop").write_text(_NOW, encoding="utf-8")

    def stop_asked(self) -> bool:
        return (self.path / "stop").exists()

    def end_asked(self) -> bool:
        try:
            return (self.path / "stop").read_text(encoding="utf-8", errors="replace") == _NOW
        except OSError:
            return False

    def asked_since(self) -> float:
        """Seconds since the process was asked to stop, or ended by force; 0 when it was not."""
        try:
            return max(0.0, time.time() - (self.path / "stop").stat().st_mtime)
        except OSError:
            return 0.0

    def withdraw_stop(self) -> None:
        (self.path / "stop").unlink(missing_ok=True)
