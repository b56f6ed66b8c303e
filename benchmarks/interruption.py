"""Time until Ctrl+C or Stop ends a command, by the stage in which it is heard.

    python -m benchmarks.interruption FOLDER --rounds 5
    python -m benchmarks.interruption FOLDER --only validation saving --stop

FOLDER has `train/` and `val/` with photographs. Each command runs as a process of its own; once it is in its stage, it
is interrupted after a random delay. The table in docs/robustness.md has the median and the maximum. A row is wrong if
a process exits with another status than 130 (0 after Stop and where the page is served), shows a traceback, or leaves a
process behind. Downloads come from a server on this machine that falls silent in the middle.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil

from benchmarks.process import PROJECT_ROOT
from benchmarks.row import report_at_most
from ftlab.core import interruption
from ftlab.runs.directory import Run

_STAGE_TIMEOUT_SECONDS, _TIMEOUT_SECONDS = 300.0, 60.0
_POLL_SECONDS = 0.01
_FEW_IMAGES = 8
"""Training images of a class where the stage comes after an epoch."""
_MAX_SECONDS = 2.0
"""Bound of the time from the signal to the end of the process."""
_FETCH_PROGRAM = """
import sys, dataclasses
from ftlab.core import interruption
interruption.watch_process()
from ftlab.data.sources import tutorial_datasets
datasets = tutorial_datasets.DATASETS
datasets["hymenoptera"] = dataclasses.replace(datasets["hymenoptera"], url=sys.argv[1] + "/pets.zip", bytes=2_000_000)
from ftlab.cli.main import main
sys.exit(main(["fetch", "hymenoptera", "--to", sys.argv[2]]))
"""
"""`fetch` with the address of the silent server in place of the source's."""


@dataclass(frozen=True)
class Bench:
    """Where the commands run.

    Attributes:
        folder: with the photographs.
        few: a folder with the same validation images, and a few to train on.
        scratch: an empty folder; each round has its own.
        url: of the silent server.
        run: a finished run, by which predictions are made.
    """

    folder: Path
    few: Path
    scratch: Path
    url: str
    run: Path


@dataclass(frozen=True)
class Stage:
    """Stage of a command.

    Attributes:
        make_arguments: Python's arguments, made for a round.
        is_entered: whether the stage has begun; asked again and again.
        max_delay: seconds of the random delay after that, at most.
        is_training: whether it is a run, which Stop can end too.
        exit_statuses: that are right after Ctrl+C.
    """

    make_arguments: Callable[[Bench], list[str]]
    is_entered: Callable[[Bench], bool]
    max_delay: float
    is_training: bool = False
    exit_statuses: tuple[int, ...] = (interruption.INTERRUPTED_STATUS,)


def _make_train_arguments(*flags: str, few: bool = False, command: str = "train") -> Callable[[Bench], list[str]]:
    """Return a function that makes the arguments of a training, or of another command with the same flags."""

    def make_arguments(bench: Bench) -> list[str]:
        runs = ["--runs", str(bench.scratch / "runs")] if command == "train" else []
        return ["-m", "ftlab", command, "--data", str(bench.few if few else bench.folder), *flags, *runs]

    return make_arguments


def _list_events(bench: Bench) -> list[dict[str, object]]:
    """Return the events of the run in the scratch folder; none before it has written one."""
    files = list((bench.scratch / "runs").glob("*/metrics.jsonl"))
    lines = files[0].read_text("utf-8").splitlines() if files else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def _has_event(kind: str, **values: object) -> Callable[[Bench], bool]:
    """Return a function that says whether the last event is of a kind, with these values."""

    def is_last(bench: Bench) -> bool:
        events = _list_events(bench)
        return bool(events) and {"event": kind, **values}.items() <= events[-1].items()

    return is_last


def _is_saving(bench: Bench) -> bool:
    """Return whether a file of weights is being written."""
    return any(file.suffix == ".part" or ".part" in file.name for file in (bench.scratch / "runs").glob("*/last/*"))


def _has_written(text: str) -> Callable[[Bench], bool]:
    """Return a function that says whether a command has written a text."""
    return lambda bench: text in (bench.scratch / "output").read_text("utf-8", "replace")


def _is_downloading(_bench: Bench) -> bool:
    """Return whether the silent server has sent its first half."""
    return _SilentHandler.sent.is_set()


def _is_started(_bench: Bench) -> bool:
    """Return True: the stage begins with the process."""
    return True


_FULL = ("--mode", "full", "--compile", "no")

STAGES: dict[str, Stage] = {
    "start of `train` (imports)": Stage(
        _make_train_arguments("--mode", "frozen"), _is_started, 4.0, exit_statuses=(interruption.INTERRUPTED_STATUS,)
    ),
    "start of `python app.py` (imports)": Stage(
        lambda bench: ["app.py", "--no-browser", "--runs", str(bench.scratch / "runs")], _is_started, 3.0
    ),
    "start of `python -m ftlab ui`": Stage(
        lambda bench: ["-m", "ftlab", "ui", "--no-browser", "--runs", str(bench.scratch / "runs")], _is_started, 3.0
    ),
    "the page is served": Stage(
        lambda bench: ["app.py", "--no-browser", "--runs", str(bench.scratch / "runs")],
        _has_written("http://"), 1.0, exit_statuses=(0,),
    ),
    "feature extraction": Stage(
        _make_train_arguments("--mode", "frozen"), _has_event("progress", stage="features"), 3.0, is_training=True
    ),
    "one long step": Stage(
        _make_train_arguments(*_FULL, "--batch-size", "128", "--image-size", "320"), _has_event("started"), 20.0,
        is_training=True,
    ),
    "compilation": Stage(
        _make_train_arguments("--mode", "full", "--compile", "yes"), _has_event("started"), 15.0, is_training=True
    ),
    "validation": Stage(
        _make_train_arguments("--mode", "full", "--compile", "no", "--image-size", "320", few=True),
        _has_event("progress", stage="validation"), 1.0, is_training=True,
    ),
    "saving": Stage(
        _make_train_arguments(
            "--backbone", "resnet50", "--mode", "scratch", "--image-size", "64", "--compile", "no", "--epochs", "50",
            few=True,
        ),
        _is_saving, 0.5, is_training=True,
    ),
    "`find-rate`": Stage(_make_train_arguments("--mode", "full", command="find-rate"), _is_started, 20.0),
    "`scan --deep`": Stage(
        lambda bench: ["-m", "ftlab", "scan", "--deep", str(bench.folder)], _is_started, 12.0
    ),
    "`predict` on a folder": Stage(
        lambda bench: ["-m", "ftlab", "predict", str(bench.run), str(bench.folder / "train")], _is_started, 8.0
    ),
    "`explain` on a folder": Stage(
        lambda bench: [
            *("-m", "ftlab", "explain", str(bench.run), str(bench.folder / "train"), "--score"),
            *("--out", str(bench.scratch / "maps")),
        ],
        _is_started, 15.0,
    ),
    "`evaluate`": Stage(
        lambda bench: ["-m", "ftlab", "evaluate", str(bench.run), "--folder", str(bench.folder / "train")],
        _is_started, 8.0,
    ),
    "download of weights": Stage(
        _make_train_arguments("--mode", "frozen", "--backbone", "timm/resnet10t.c3_in1k"), _is_downloading, 2.0,
        is_training=True,
    ),
    "`fetch`": Stage(
        lambda bench: ["-c", _FETCH_PROGRAM, bench.url, str(bench.scratch / "fetched")], _is_downloading, 2.0
    ),
}  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="stages whose names have one of these")
    parser.add_argument("--stop", action="store_true", help="by Stop instead of Ctrl+C, where it is a training")
    options = parser.parse_args()
    # A shell lets what it starts in the background ignore Ctrl+C, and each command would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as scratch, _serve_silence() as url:
        few = _lay_out_few(options.folder, Path(scratch) / "few")
        bench = Bench(options.folder.absolute(), few, Path(scratch), url, _train_model(few, Path(scratch)))
        for name, stage in STAGES.items():
            is_chosen = not options.only or any(word in name for word in options.only)
            if is_chosen and (stage.is_training or not options.stop):
                _measure_stage(name, stage, bench, options.rounds, by_stop=options.stop)


def _lay_out_few(folder: Path, few: Path) -> Path:
    """Return a folder with a few of the training images, and all for validation."""
    for split, count in (("train", _FEW_IMAGES), ("val", None)):
        for class_folder in (folder / split).iterdir():
            (few / split / class_folder.name).mkdir(parents=True)
            for file in sorted(class_folder.glob("*.jpg"))[:count]:
                shutil.copy(file, few / split / class_folder.name)
    return few


def _train_model(folder: Path, scratch: Path) -> Path:
    """Return a finished run of a frozen backbone."""
    arguments = ["train", "--data", str(folder), "--epochs", "1", "--runs", str(scratch / "models")]
    environment = {**os.environ, "FTLAB_HOME": str(scratch / "home")}
    subprocess.run([sys.executable, "-m", "ftlab", *arguments], cwd=PROJECT_ROOT, env=environment, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    return next((scratch / "models").iterdir())


def _measure_stage(name: str, stage: Stage, bench: Bench, round_count: int, *, by_stop: bool) -> None:
    """Interrupt a command several times, and print the row.

    Args:
        name: of the stage.
        stage: the stage.
        bench: where it runs.
        round_count: how often.
        by_stop: ask by Stop, not by Ctrl+C.
    """
    durations, faults = list[float](), list[str]()
    for number in range(round_count):
        round_folder = bench.scratch / f"{len(list(bench.scratch.iterdir()))}"
        round_folder.mkdir()
        round_bench = replace(bench, scratch=round_folder)
        delay = stage.max_delay * random.Random(f"{name} {number}").random()
        seconds, fault = _interrupt(stage, round_bench, delay, by_stop=by_stop)
        durations.append(seconds)
        faults += [fault] if fault else []
    details = f"median {statistics.median(durations):.2f} s of {round_count}; " + ("; ".join(faults) or "no fault")
    report_at_most(f"{'Stop' if by_stop else 'Ctrl+C'}: {name}", max(durations), _MAX_SECONDS, "s", details)


def _interrupt(stage: Stage, bench: Bench, delay: float, *, by_stop: bool) -> tuple[float, str]:
    """Start a command, interrupt it in its stage and wait for its end.

    Args:
        stage: the stage.
        bench: where it runs.
        delay: seconds from the beginning of the stage on.
        by_stop: ask by Stop, not by Ctrl+C.

    Returns:
        Seconds from the signal to the end, and what was wrong; empty for nothing.
    """
    _SilentHandler.sent.clear()
    environment = {**os.environ, "FTLAB_HOME": str(bench.scratch / "home"), "HF_HUB_OFFLINE": "0",
                   "HF_ENDPOINT": bench.url, "HF_HOME": str(bench.scratch / "hub")}  # fmt: skip
    output_path = bench.scratch / "output"
    with output_path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *stage.make_arguments(bench)],
            cwd=PROJECT_ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        start = time.monotonic()
        while (
            not stage.is_entered(bench) and process.poll() is None and time.monotonic() - start < _STAGE_TIMEOUT_SECONDS
        ):
            time.sleep(_POLL_SECONDS)
        time.sleep(delay)
        if process.poll() is not None:
            return 0.0, f"ended before its stage, with {process.returncode}: {output_path.read_text('utf-8')[-200:]!r}"
        start = time.monotonic()
        if by_stop:
            Run(next((bench.scratch / "runs").iterdir())).liveness.request_stop()
        else:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            return _TIMEOUT_SECONDS, "it did not end"
        return time.monotonic() - start, _find_fault(stage, process, output_path, by_stop=by_stop)
    finally:
        _end_session(process.pid)
        process.wait()


def _find_fault(stage: Stage, process: subprocess.Popen[bytes], output_path: Path, *, by_stop: bool) -> str:
    """Return what is wrong with the end of a process; empty for nothing."""
    output = output_path.read_text("utf-8", "replace")
    if process.returncode not in ((0,) if by_stop else stage.exit_statuses):
        return f"status {process.returncode}: {output[-300:]!r}"
    if "Traceback" in output or "Error" in output:
        return f"traceback: {output[-300:]!r}"
    remaining = _list_session(process.pid)
    return f"{len(remaining)} processes left" if remaining else ""


def _list_session(session_id: int) -> list[psutil.Process]:
    """Return the living processes of a session."""
    processes = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session_id and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
        except (psutil.Error, OSError):  # it has just ended
            continue
    return processes


def _end_session(session_id: int) -> None:
    """Kill what is left of a session."""
    for process in _list_session(session_id):
        try:
            process.kill()
        except psutil.Error:  # it has just ended
            continue


class _SilentHandler(BaseHTTPRequestHandler):
    """Sends the first half of a file, and then nothing for a minute."""

    protocol_version = "HTTP/1.1"
    sent = threading.Event()

    def do_HEAD(self) -> None:
        """Answer with the headers of a file."""
        self._send_head()

    def do_GET(self) -> None:
        """Send the first half."""
        self._send_head()
        self.wfile.write(bytes(1_000_000))
        self.wfile.flush()
        self.sent.set()
        time.sleep(60)

    def _send_head(self) -> None:
        """Send headers, as the Hugging Face Hub does."""
        self.send_response(200)
        self.send_header("Content-Length", "2000000")
        self.send_header("ETag", f'"{"0" * 64}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def _serve_silence() -> Iterator[str]:
    """Serve on this machine within the block.

    Yields:
        The address.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _SilentHandler)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
