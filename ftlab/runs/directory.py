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
from ftlab.config.train_config import TrainConfig, config_from_json
from ftlab.core.errors import RunError
from ftlab.runs.events import Ended, Event, parse_event
from ftlab.runs.heartbeat import Heartbeat, LastBeat, read_last_beat
from ftlab.runs.history import History
from ftlab.runs.process_record import ProcessRecord

ACTIVE_STATUSES = ("waiting", "running", "hanging")
_STARTUP_TIMEOUT_SECONDS = 60.0
"""Seconds after which a run that no process took up counts as died, so that it can be resumed."""
_FORCE_STOP_MARK = "now"
"""What stands in `stop` when the process is ended by force."""


class Run:
    """One run directory. Holds nothing in memory: any number of objects and processes may look at one."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def best_weights_path(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def last_checkpoint_path(self) -> Path:
        return self.path / "last" / "state.safetensors"

    @property
    def previous_checkpoint_path(self) -> Path:
        """The generation before `last_checkpoint_path`."""
        return self.path / "last" / "before.safetensors"

    @property
    def epoch_weights_folder(self) -> Path:
        """Where the weights of single epochs are kept, on demand."""
        return self.path / "epochs"

    @property
    def log_path(self) -> Path:
        return self.path / "worker.log"

    def load_config(self) -> TrainConfig:
        """The configuration it was started with."""
        return config_from_json(self.read_json("config.json")["config"])

    def update_resolved_config(self, **values: object) -> None:
        """Add to what was chosen for this run, so that a resume goes on likewise.

        Raises:
            RunError: `load_config.json` cannot be read or written.
        """
        content = self.read_json("config.json")
        self.write_json("config.json", {**content, "resolved": {**content["resolved"], **values}})

    def load_resolved_config(self) -> TrainConfig:
        """The configuration with what was chosen at the start; the bare one before that."""
        content = self.read_json("config.json")
        return config_from_json(content.get("resolved") or content["config"])

    def read_json(self, file_name: str) -> dict[str, Any]:
        """One of its JSON files.

        Raises:
            RunError: it is not there or cannot be read.
        """
        try:
            with open(self.path / file_name, encoding="utf-8") as stream:
                return dict(json.load(stream))
        except (OSError, ValueError, TypeError) as cause:
            raise RunError("run.file", run=self.name, file=file_name) from cause

    def compute_sha256(self, file_name: str) -> str:
        """SHA-256 in hex of one of its files; empty where it is not there."""
        path = self.path / file_name
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    def write_json(self, file_name: str, values: dict[str, Any]) -> None:
        """Replace one of its JSON files in one go: a reader sees the old one or the new one, never half.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        with self.translate_write_errors(), file_io.atomic_write(self.path / file_name) as part_path:
            part_path.write_text(json.dumps(values, indent=1, ensure_ascii=False), encoding="utf-8")

    def append_event(self, event: Event) -> None:
        """Add an event to `metrics.jsonl`; a reader sees it at once.

        A line that a killed process left unfinished is ended first, so that it spoils no other.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        with self.translate_write_errors(), open(self.path / "metrics.jsonl", "a+b") as stream:
            if stream.seek(0, os.SEEK_END):
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":
                    stream.write(b"\n")
            stream.write(event.to_line().encode() + b"\n")

    def flush(self) -> None:
        """Make sure that what was appended is on the disk.

        Raises:
            RunError: it could not be written.
        """
        with self.translate_write_errors():
            file_io.sync_file(self.path / "metrics.jsonl")

    @contextmanager
    def translate_write_errors(self) -> Iterator[None]:
        """What the system says when it cannot write here becomes a RunError, in one line."""
        try:
            yield
        except OSError as cause:
            raise RunError("run.write", folder=self.path.parent, cause=cause.strerror or cause) from cause

    def read_events(self, offset: int = 0) -> tuple[list[Event], int]:
        """Events after a byte offset, and the offset to ask from next. A line still being written waits."""
        try:
            with open(self.path / "metrics.jsonl", "rb") as stream:
                stream.seek(offset)
                chunk = stream.read()
        except FileNotFoundError:
            return [], offset
        complete_length = chunk.rfind(b"\n") + 1
        # Not splitlines, which also breaks at characters that a file's name or a message may hold.
        lines = chunk[:complete_length].decode("utf-8", "replace").split("\n")
        return [event for event in map(parse_event, lines) if event is not None], offset + complete_length

    def load_history(self) -> History:
        """All of its events, folded."""
        history = History()
        history.add_events(self.read_events()[0])
        return history

    def read_end_event(self) -> Ended | None:
        """The end that the last process told, None while one is at work or when it died without a word."""
        record = self.read_process_record()
        try:
            with open(self.path / "metrics.jsonl", "rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                if record is not None and size <= record.told:
                    return None  # what stands there was told by an earlier process
                start, last_line = size, b""
                while start and b"\n" not in last_line:  # a failure's message may be long
                    start = max(0, start - 8192)
                    stream.seek(start)
                    last_line = stream.read().removesuffix(b"\n")
        except FileNotFoundError:
            return None
        event = parse_event(last_line.rpartition(b"\n")[2].decode("utf-8", "replace"))
        return event if isinstance(event, Ended) else None

    def get_status(self) -> str:
        """waiting (for its process to start), running, hanging (its process lives and is silent), finished, stopped,
        failed, or died (gone without a word: `jobs.autopsy` finds the cause)."""
        if self.is_process_alive():
            return "hanging" if self.is_hanging() else "running"
        end_event = self.read_end_event()
        if end_event is None:
            return "stopped" if self.is_force_stopped() else "waiting" if self._awaits_process() else "died"
        return {"time": "finished", "early": "finished"}.get(end_event.reason, end_event.reason)

    def _awaits_process(self) -> bool:
        """Whether no process has touched it yet, and it is not too late for one to come."""
        if (self.path / "pid").exists() or (self.path / "metrics.jsonl").exists():
            return False
        try:
            return time.time() - (self.path / "config.json").stat().st_mtime < _STARTUP_TIMEOUT_SECONDS
        except OSError:
            return False

    def is_active(self) -> bool:
        """Whether a process works on it, or is about to."""
        return self.get_status() in ACTIVE_STATUSES

    def create_heartbeat(self) -> Heartbeat:
        """For the process that trains here: its `beat` says that work goes on."""
        return Heartbeat(self.path / "heartbeat")

    def read_last_beat(self) -> LastBeat | None:
        """The last sign of life of the process, None where there never was one."""
        return read_last_beat(self.path / "heartbeat")

    def is_hanging(self) -> bool:
        """Whether the last sign of life is too long ago."""
        last_beat = self.read_last_beat()
        return last_beat is not None and last_beat.is_hanging

    def set_owner(self, pid: int, log_offset: int = 0) -> None:
        """Name the process that trains here. An older wish to stop and an older end no longer count, and its silence
        begins now.

        Args:
            pid: of the process.
            log_offset: byte of `worker.log` at which its own output begins.
        """
        self.clear_stop()
        Heartbeat(self.path / "heartbeat", pid).beat()
        record = process_record.record_start(self.path / "process.json", pid, log_offset, self.read_events()[1])
        self.write_json("pid", {"pid": pid, "created": record.created})

    def read_process_record(self) -> ProcessRecord | None:
        """What is known of the last process that it was handed to."""
        return process_record.read_record(self.path / "process.json")

    def record_exit(self, pid: int, exit_code: int) -> None:
        """Write down how a process ended (its exit status), unless another one trains here by now."""
        process_record.record_exit(self.path / "process.json", pid, exit_code)

    def claim_ownership(self) -> None:
        """Make this process the one that trains here, unless whoever started it said so already.

        Raises:
            RunError: another one does.
        """
        if not self.is_process_alive():
            self.set_owner(os.getpid())
        # A virtual environment's python on Windows is a launcher: what was started is then our parent.
        elif self.read_json("pid")["pid"] not in (os.getpid(), os.getppid()):
            raise RunError("run.busy", run=self.name)

    def release_ownership(self) -> None:
        """This process is done with it."""
        (self.path / "pid").unlink(missing_ok=True)

    def find_process(self) -> psutil.Process | None:
        """The process in `pid`, None when it is gone or another one has its number by now."""
        try:
            owner = json.loads((self.path / "pid").read_text(encoding="utf-8"))
            return process_record.find_process(owner["pid"], owner["created"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def is_process_alive(self) -> bool:
        """Whether the process in `pid` is still the one that wrote it."""
        return self.find_process() is not None

    def request_stop(self) -> None:
        """Ask the process to end at its next step."""
        if not self.is_stop_requested():  # when it was asked first is to be known
            (self.path / "stop").touch()

    def mark_force_stop(self) -> None:
        """Say that the process is ended by force, at a person's wish."""
        (self.path / "stop").write_text(_FORCE_STOP_MARK, encoding="utf-8")

    def is_stop_requested(self) -> bool:
        return (self.path / "stop").exists()

    def is_force_stopped(self) -> bool:
        try:
            return (self.path / "stop").read_text(encoding="utf-8", errors="replace") == _FORCE_STOP_MARK
        except OSError:
            return False

    def seconds_since_stop_request(self) -> float:
        """Seconds since the process was asked to stop, or ended by force; 0 when it was not."""
        try:
            return max(0.0, time.time() - (self.path / "stop").stat().st_mtime)
        except OSError:
            return 0.0

    def clear_stop(self) -> None:
        (self.path / "stop").unlink(missing_ok=True)
