"""How long a person waits for a beginning: the command line, the page, the first point of a training.

    python -m benchmarks.startup FOLDER --rounds 5

Whole processes, medians. The page is ready when it answers; the first point is the first line of a step or an epoch
that a training of FOLDER (default backbone, frozen, nothing kept) has written: the page draws it at its next look,
within a second.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks.row import at_most
from ftlab.config.train_config import TrainConfig
from ftlab.runs import run_store
from ftlab.runs.directory import Run

ROOT = Path(__file__).resolve().parent.parent
_PATIENCE = 120.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for _ in range(20):
            run_store.create(place / "runs", TrainConfig(sample="shapes"))
        ways = {
            "`python -m ftlab --help`": (0.4, lambda: _command(["--help"])),
            "`python -m ftlab runs`, 20 runs": (0.4, lambda: _command(["runs", "--runs", str(place / "runs")])),
            "`python app.py` until it answers": (6.0, lambda: _page(place)),
            "Start of a training until its first point": (6.0, lambda: _training(place, options.folder)),
        }
        for what, (wanted, way) in ways.items():
            taken = sorted(way() for _ in range(options.rounds))
            seen = f"{taken[0]:.2f}–{taken[-1]:.2f} s in {options.rounds} rounds"
            at_most(what, statistics.median(taken), wanted, "s", seen)


def _command(words: list[str]) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "ftlab", *words], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def _page(place: Path) -> float:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "app.py", "--no-browser", "--port", str(port), "--runs", str(place / "runs")]
    began = time.monotonic()
    with _begun(words, place / "home") as server:
        try:
            while time.monotonic() - began < _PATIENCE:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                        assert answer.status == 200
                        return time.monotonic() - began
                except OSError:
                    time.sleep(0.02)
            raise TimeoutError
        finally:
            server.terminate()


def _training(place: Path, folder: Path) -> float:
    with tempfile.TemporaryDirectory(dir=place) as own:
        words = ["train", "--data", str(folder.absolute()), "--mode", "frozen", "--runs", f"{own}/runs"]
        began = time.monotonic()
        with _begun([sys.executable, "-m", "ftlab", *words], Path(own, "home")) as process:
            try:
                while time.monotonic() - began < _PATIENCE:
                    if any(_points(Run(path)) for path in Path(own, "runs").glob("*-*")):
                        return time.monotonic() - began
                    time.sleep(0.02)
                raise TimeoutError
            finally:
                process.wait()


def _begun(words: list[str], home: Path) -> subprocess.Popen[bytes]:
    env, nowhere = {**os.environ, "FTLAB_HOME": str(home)}, subprocess.DEVNULL
    return subprocess.Popen(words, cwd=ROOT, env=env, stdout=nowhere, stderr=nowhere)


def _points(run: Run) -> bool:
    file = run.path / "metrics.jsonl"
    return file.is_file() and any(
        word in file.read_text(encoding="utf-8") for word in ('"event": "step"', '"event": "epoch"')
    )


if __name__ == "__main__":
    main()
