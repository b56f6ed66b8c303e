"""What a long run costs the page: a tick with 100,000 logged steps beside one with 1,000; and a page that only stands.

    python -m benchmarks.page --rounds 30

A tick is what the server does when a step was added to the run that a page looks at: read, fold, draw. Its payload is
what is then sent: the parts that changed. The idle page is an open page without a run, by the processor's time of the
server in a minute, beside an empty page of Gradio in the same browser.
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

import psutil

from benchmarks.row import at_most
from ftlab.config.train_config import TrainConfig
from ftlab.runs import run_store
from ftlab.runs.events import Epoch, Started, Step
from ftlab.ui.common.run_status import Watch

ROOT = Path(__file__).resolve().parent.parent
_EPOCHS = 100
_EMPTY = """
import sys, gradio as gr
with gr.Blocks() as page:
    gr.Markdown("empty")
page.launch(server_port=int(sys.argv[1]), quiet=True)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60.0, help="that the idle pages are watched for")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        few, many = (Long(Path(scratch, str(steps)), steps) for steps in (1_000, 100_000))
        ticks = [(few.tick(), many.tick()) for _ in range(options.rounds + 3)][3:]
        seconds = [[one[0] for one in pair] for pair in ticks]
        sizes = [[one[1] for one in pair] for pair in ticks]
        medians = [1000 * statistics.median(one) for one in zip(*seconds, strict=True)]
        bytes_ = [statistics.median(one) / 1000 for one in zip(*sizes, strict=True)]
        seen = f"{medians[0]:.1f} and {medians[1]:.1f} ms, {bytes_[0]:.1f} and {bytes_[1]:.1f} kB"
        at_most("A tick with 100,000 steps by one with 1,000: time", medians[1] / medians[0], 1.5, "×", seen)
        at_most("The same: payload", bytes_[1] / bytes_[0], 1.2, "×", seen)
        ours = _idle([sys.executable, "app.py", "--no-browser", "--runs", scratch, "--port"], options.seconds)
        empty = _idle([sys.executable, "-c", _EMPTY], options.seconds)
        seen = f"{100 * ours:.2f} % and {100 * empty:.2f} % of a core in {options.seconds:.0f} s"
        at_most("Idle page above an empty Gradio page", 100 * (ours - empty), 1.0, "% of a core", seen)


class Long:
    """A run at work with so many steps, and a page that looks at it."""

    def __init__(self, place: Path, steps: int) -> None:
        self.run = run_store.create(place, TrainConfig(sample="shapes"))
        self.run.claim()
        self.per_epoch, self.step = steps // _EPOCHS, 0
        self.run.append(
            Started(step=0, epochs=2 * _EPOCHS, steps_per_epoch=self.per_epoch, device="cpu", train_images=320,
                    val_images=80, trainable=7686, total=3_378_694)
        )  # fmt: skip
        for number in range(_EPOCHS):
            for _ in range(self.per_epoch):
                self.add()
            self.run.append(
                Epoch(epoch=number + 1, step=self.step, train_loss=1.0, train_accuracy=0.5, val_loss=1.0,
                      val_accuracy=0.5, learning_rate=1e-3, images_per_second=100.0, seconds=1.0, best=not number)
            )  # fmt: skip
        self.watch = Watch(self.run)
        self.marks = self.watch.look(0.0).marks()

    def add(self) -> None:
        self.step += 1
        jitter = (self.step * 7919 % 1000) / 1000
        self.run.append(
            Step(step=self.step, epoch=self.step // self.per_epoch + 1, loss=1 + jitter, accuracy=jitter,
                 learning_rate=1e-3, images_per_second=100.0)
        )  # fmt: skip

    def tick(self) -> tuple[float, int]:
        """Seconds of the server, and bytes that are sent."""
        self.add()
        began = time.perf_counter()
        look = self.watch.look(0.0)
        seconds, marks = time.perf_counter() - began, look.marks()
        parts = {"head": look.head, "curves": look.curves, "log": look.log}
        sent = sum(len(text.encode()) for name, text in parts.items() if marks[name] != self.marks[name])
        self.marks = marks
        return seconds, sent


def _idle(words: list[str], seconds: float) -> float:
    """The share of a core that a server takes while one page of it stands open."""
    from playwright.sync_api import sync_playwright

    sys.path.insert(0, str(ROOT / "tests"))
    import browser as browsers

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    nowhere = subprocess.DEVNULL
    with subprocess.Popen([*words, str(port)], cwd=ROOT, env=env, stdout=nowhere, stderr=nowhere) as server:
        try:
            _ready(port)
            with sync_playwright() as play:
                browser = play.chromium.launch(executable_path=browsers.find(), args=[*browsers.ARGUMENTS])
                page = browser.new_page()
                page.goto(f"http://127.0.0.1:{port}/")
                page.wait_for_timeout(8000)  # loaded, and what a beginning costs is spent
                process = psutil.Process(server.pid)
                before = sum(process.cpu_times()[:2])
                page.wait_for_timeout(1000 * seconds)
                spent = sum(process.cpu_times()[:2]) - before
                browser.close()
            return spent / seconds
        finally:
            server.terminate()


def _ready(port: int) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError


if __name__ == "__main__":
    main()
