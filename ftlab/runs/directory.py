"""The run directory: the only protocol between a training process and everything that observes it. No torch.

`<root>/<stamp>-<backbone>-<mode>-<id>/`
    config.json         the configuration, written before the process starts; and the one resolved at its start
    about.json          title and notes written by people
    split.json          split of each image, skipped images, hash of the manifest
    metrics.jsonl       every event, append-only
    model.json          what a prediction needs besides the weights
    best.safetensors    weights of the best epoch by validation
    start.safetensors   weights at the start, where they came from another file and only the head is saved later
    decision.json       calibration and decision rule of the best model
    evaluation/         results on labelled images
    labels.csv          class names for people, if somebody puts it there
    epochs/             weights of single epochs, where they are kept
    last/               checkpoint for resuming, in two generations
    worker.log          standard output and error of the process
    queued              the run waits for its turn; who removes this file may train it
    pid                 the process that trains
    heartbeat           its last heartbeat
    process.json        what is known of the process from outside, and of its end
    cluster.json        the job that trains the run on a cluster, if one does
    driver              heartbeat of that job
    stop                requests a stop by existing; with the content `now`: it was ended by force
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from ftlab.config.train_config import MODES, TrainConfig, config_from_json
from ftlab.core import file_io, json_fields
from ftlab.core.errors import ConfigError, RunError
from ftlab.runs.events import Event, Saved, parse_event, parse_lines
from ftlab.runs.history import History
from ftlab.runs.liveness import RunLiveness

_CONFIG_FILE_SECTIONS = ("config", "resolved", "preprocessing", "init", "versions", "machine")
"""Parts of `config.json` that are objects."""
_TAIL_CHUNK_BYTES = 8192
"""Bytes per read when the last line of the event log is looked for from its end."""


class Run:
    """The files of one run directory: configuration, events, split, model files and notes.

    Nothing of their content is kept in memory: any number of objects and processes may read one directory.

    Attributes:
        path: the run directory.
    """

    def __init__(self, path: Path | str) -> None:
        """Refer to a run directory, which need not exist yet."""
        self.path = Path(path)

    @cached_property
    def liveness(self) -> RunLiveness:
        """Process, heartbeat, stop request and status of the run."""
        return RunLiveness(self)

    @property
    def name(self) -> str:
        """Name of the run directory."""
        return self.path.name

    @property
    def best_weights_path(self) -> Path:
        """Weights of the best epoch."""
        return self.path / "best.safetensors"

    @property
    def last_checkpoint_path(self) -> Path:
        """Newest checkpoint for resuming."""
        return self.path / "last" / "state.safetensors"

    @property
    def previous_checkpoint_path(self) -> Path:
        """The generation before `last_checkpoint_path`."""
        return self.path / "last" / "before.safetensors"

    @property
    def epoch_weights_folder(self) -> Path:
        """Folder of the weights of single epochs, which are kept on demand."""
        return self.path / "epochs"

    @property
    def log_path(self) -> Path:
        """Standard output and error of the training process."""
        return self.path / "worker.log"

    def load_config(self) -> TrainConfig:
        """Return the configuration that the run was started with."""
        return self._parse_settings(self.read_config_file(), "config")

    def update_resolved_config(self, **values: object) -> None:
        """Add values to the resolved configuration, so that a resumed process uses the same ones.

        A `RunError` says that `config.json` cannot be read or written.

        Args:
            **values: fields of the configuration by name.
        """
        content = self.read_config_file()
        self.write_json("config.json", {**content, "resolved": {**content["resolved"], **values}})

    def load_resolved_config(self) -> TrainConfig:
        """Return the configuration resolved at the start of the process; before that, the one of `load_config`."""
        content = self.read_config_file()
        return self._parse_settings(content, "resolved" if "resolved" in content else "config")

    def read_config_file(self) -> dict[str, Any]:
        """Return the content of `config.json`: `config`, `resolved` and what else was recorded at the start.

        Raises:
            RunError: the file is missing or damaged.
        """
        content = self.read_json("config.json")
        if not isinstance(content.get("config"), dict) or not all(
            isinstance(content.get(name, {}), dict) for name in _CONFIG_FILE_SECTIONS
        ):
            raise RunError("run.file", run=self.name, file="config.json")
        return content

    def find_mode(self) -> str:
        """Return the mode of the run; where `config.json` cannot be read, the one in its name."""
        try:
            return str(self.read_config_file()["config"]["mode"])
        except (RunError, KeyError):
            return next((mode for mode in MODES if f"-{mode}-" in self.name), "–")

    def _parse_settings(self, content: dict[str, Any], section: str) -> TrainConfig:
        """Return the configuration in a section of `config.json`.

        Args:
            content: of the file.
            section: `config` or `resolved`.

        Returns:
            The configuration.

        Raises:
            RunError: a setting is unknown, or its value is not allowed.
        """
        try:
            return config_from_json(content[section])
        except ConfigError as cause:
            raise RunError("run.config", run=self.name, cause=cause) from cause

    def read_json(self, file_name: str) -> dict[str, Any]:
        """Return the content of a JSON file of the run.

        Raises:
            RunError: the file does not exist or cannot be read.
        """
        try:
            return json_fields.read_json_object(self.path / file_name)
        except (OSError, ValueError) as cause:
            raise RunError("run.file", run=self.name, file=file_name) from cause

    def _has_lost_weights(self) -> bool:
        """Return whether the best weights are gone: the run saved them, and the file does not exist any more."""
        if self.best_weights_path.is_file():
            return False
        if any(isinstance(event, Saved) and event.what == "best" for event in self.read_events()[0]):
            return True
        end_event = self.liveness.read_end_event()
        # A run that failed may have ended before it saved its best epoch.
        return end_event is not None and end_event.best_epoch is not None and end_event.reason != "failed"

    def find_lost_weights(self) -> RunError | None:
        """Return the error of a run whose best weights are gone; None if they are there, or were never saved."""
        return RunError("run.weights_gone", run=self.name) if self._has_lost_weights() else None

    def make_no_weights_error(self) -> RunError:
        """Return the error for a run without best weights: they are gone, or it has none yet."""
        return self.find_lost_weights() or RunError("run.no_weights", run=self.name)

    def left_nothing(self) -> bool:
        """Return whether the run is over and left nothing to use: no weights, and no checkpoint to resume from."""
        if self.best_weights_path.is_file() or self.last_checkpoint_path.is_file():
            return False
        return not self.liveness.is_active() and not self._has_lost_weights()

    def compute_sha256(self, file_name: str) -> str:
        """Return the SHA-256 of a file of the run in hex; empty where the file does not exist."""
        path = self.path / file_name
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    def write_json(self, file_name: str, values: dict[str, Any]) -> None:
        """Replace a JSON file of the run atomically: a reader sees the old content or the new one, never half.

        A `RunError` says that the disk is full or the folder cannot be written.

        Args:
            file_name: relative to the run directory.
            values: content of the file.
        """
        with self.translate_write_errors(), file_io.atomic_write(self.path / file_name) as part_path:
            part_path.write_text(json.dumps(values, indent=1, ensure_ascii=False), encoding="utf-8")

    def append_event(self, event: Event) -> None:
        """Append an event to `metrics.jsonl`; a reader sees it at once.

        A `RunError` says that the disk is full or the folder cannot be written.
        """
        # Opened and closed for each event: what is written is with the system at once, where other processes read it.
        with self.translate_write_errors(), (self.path / "metrics.jsonl").open("a+b") as stream:
            # A killed process may have left half a line: it is ended first, else it would spoil this event too.
            if stream.seek(0, os.SEEK_END):
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":
                    stream.write(b"\n")
            stream.write(event.to_line().encode() + b"\n")

    def flush(self) -> None:
        """Wait until the appended events are on the disk; a `RunError` says that they could not be written."""
        with self.translate_write_errors():
            file_io.sync_file(self.path / "metrics.jsonl")

    @contextmanager
    def translate_write_errors(self) -> Iterator[None]:
        """Turn an `OSError` of the block into a `RunError`: one sentence with the folder and the system's reason.

        Yields:
            Nothing.

        Raises:
            RunError: the block raised an `OSError`.
        """
        try:
            yield
        except OSError as cause:
            raise RunError("run.write", folder=self.path.parent, cause=cause.strerror or cause) from cause

    def read_events(self, offset: int = 0) -> tuple[list[Event], int]:
        """Return the events after a byte offset of `metrics.jsonl`, and the offset to continue from.

        A line that is still being written is left for the next call.
        """
        try:
            with file_io.open_regular_file(self.path / "metrics.jsonl") as stream:
                stream.seek(offset)
                chunk = stream.read()
        except OSError:  # there is none yet, or it is no file that can be read
            return [], offset
        complete_length = chunk.rfind(b"\n") + 1
        return parse_lines(chunk[:complete_length]), offset + complete_length

    def read_last_event(self, start_offset: int = 0) -> Event | None:
        """Return the last event of `metrics.jsonl`; None where nothing was appended after byte `start_offset`.

        Reads from the end of the file: its length does not matter.
        """
        try:
            with file_io.open_regular_file(self.path / "metrics.jsonl") as stream:
                size = stream.seek(0, os.SEEK_END)
                if size <= start_offset:
                    return None
                start, last_line = size, b""
                while start and b"\n" not in last_line:  # a failure's message may be longer than one chunk
                    start = max(0, start - _TAIL_CHUNK_BYTES)
                    stream.seek(start)
                    last_line = stream.read().removesuffix(b"\n")
        except OSError:
            return None
        return parse_event(last_line.rpartition(b"\n")[2].decode("utf-8", "replace"))

    def load_history(self) -> History:
        """Return the history folded from all events of the run."""
        history = History()
        history.add_events(self.read_events()[0])
        return history
