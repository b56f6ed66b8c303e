"""Cost of a long run on the web page, and of an idle page.

    python -m benchmarks.page --rounds 30

Measured is an update with 100,000 logged steps relative to one with 1,000. An update is what the server does when a
step was added to the run that a page shows: read, fold, draw. Its payload is what is then sent: the parts that changed.
The idle page is an open page without a run, measured as the server's CPU time in a minute, relative to an empty page of
Gradio in the same browser.
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

from benchmarks.row import report_at_most
from ftlab.config.train_config import TrainConfig
from ftlab.runs import run_store
from ftlab.runs.events import Epoch, Started, Step
from ftlab.ui.common.run_status import RunWatcher

PROJECT_ROOT = Path(__file__).resolve().parent.parent
_EPOCH_COUNT = 100
_EMPTY_PAGE_SCRIPT = """
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
        short_run, long_run = (LongRun(Path(scratch, str(steps)), steps) for steps in (1_000, 100_000))
        # The first three warm up.
        ticks = [(short_run.time_tick(), long_run.time_tick()) for _ in range(options.rounds + 3)][3:]
        seconds = [[sample[0] for sample in pair] for pair in ticks]
        sizes = [[sample[1] for sample in pair] for pair in ticks]
        medians = [1000 * statistics.median(sample) for sample in zip(*seconds, strict=True)]
        kilobytes = [statistics.median(sample) / 1000 for sample in zip(*sizes, strict=True)]
        details = f"{medians[0]:.1f} and {medians[1]:.1f} ms, {kilobytes[0]:.1f} and {kilobytes[1]:.1f} kB"
        report_at_most(
            "Update of the training page with 100,000 steps: time relative to 1,000 steps",
            medians[1] / medians[0],
            1.5,
            "×",
            details,
        )
        report_at_most(
            "Update of the training page with 100,000 steps: bytes sent relative to 1,000 steps",
            kilobytes[1] / kilobytes[0],
            1.2,
            "×",
            details,
        )
        ftlab_share = _measure_idle_share(
            [sys.executable, "app.py", "--no-browser", "--runs", scratch, "--port"], options.seconds
        )
        empty_share = _measure_idle_share([sys.executable, "-c", _EMPTY_PAGE_SCRIPT], options.seconds)
        details = f"{100 * ftlab_share:.2f} % and {100 * empty_share:.2f} % of a core in {options.seconds:.0f} s"
        report_at_most(
            "CPU time of an idle page, less that of an empty Gradio page",
            100 * (ftlab_share - empty_share),
            1.0,
            "% of a core",
            details,
        )


class LongRun:
    """A running training with many steps, and a page that shows it."""

    def __init__(self, folder: Path, steps: int) -> None:
        """Write a run with that many steps in 100 epochs into `folder`."""
        self.run = run_store.create_run(folder, TrainConfig(sample="shapes"))
        self.run.liveness.claim_ownership()
        self.per_epoch, self.step = steps // _EPOCH_COUNT, 0
        self.run.append_event(
            Started(step=0, epochs=2 * _EPOCH_COUNT, steps_per_epoch=self.per_epoch, device="cpu", train_images=320,
                    val_images=80, trainable=7686, total=3_378_694)
        )  # fmt: skip
        for epoch_index in range(_EPOCH_COUNT):
            for _ in range(self.per_epoch):
                self.add_step()
            self.run.append_event(
                Epoch(epoch=epoch_index + 1, step=self.step, train_loss=1.0, train_accuracy=0.5, val_loss=1.0,
                      val_accuracy=0.5, learning_rate=1e-3, images_per_second=100.0, seconds=1.0, best=not epoch_index)
            )  # fmt: skip
        self.watch = RunWatcher(self.run)
        self.marks = self.watch.take_snapshot(0.0).digest_parts()

    def add_step(self) -> None:
        """Append the event of a step."""
        self.step += 1
        jitter = (self.step * 7919 % 1000) / 1000  # reproducible noise, as a real curve has
        self.run.append_event(
            Step(step=self.step, epoch=self.step // self.per_epoch + 1, loss=1 + jitter, accuracy=jitter,
                 learning_rate=1e-3, images_per_second=100.0)
        )  # fmt: skip

    def time_tick(self) -> tuple[float, int]:
        """Add a step and update the page.

        Returns:
            Seconds of the server, and bytes that are sent.
        """
        self.add_step()
        start = time.perf_counter()
        snapshot = self.watch.take_snapshot(0.0)
        seconds, marks = time.perf_counter() - start, snapshot.digest_parts()
        parts = {"head": snapshot.head_html, "curves": snapshot.curves_html, "log": snapshot.log_html}
        sent_bytes = sum(len(text.encode()) for name, text in parts.items() if marks[name] != self.marks[name])
        self.marks = marks
        return seconds, sent_bytes


def find_free_port() -> int:
    """Return a free port of this machine: a server needs its number in advance."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _measure_idle_share(command: list[str], seconds: float) -> float:
    """Return the fraction of a CPU core that a server uses while one page of it is open.

    Args:
        command: starts the server; a port is appended.
        seconds: duration of the measurement.
    """
    from playwright.sync_api import sync_playwright

    from tests.support import browser as browsers

    port = find_free_port()
    env = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    devnull = subprocess.DEVNULL
    with subprocess.Popen([*command, str(port)], cwd=PROJECT_ROOT, env=env, stdout=devnull, stderr=devnull) as server:
        try:
            _wait_until_ready(port)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=browsers.find(), args=[*browsers.ARGUMENTS])
                page = browser.new_page()
                page.goto(f"http://127.0.0.1:{port}/")
                page.wait_for_timeout(8000)  # the page has loaded, and the server is past its start-up
                process = psutil.Process(server.pid)
                # User and system time.
                start_seconds: float = sum(process.cpu_times()[:2])
                page.wait_for_timeout(1000 * seconds)
                spent_seconds: float = sum(process.cpu_times()[:2]) - start_seconds
                browser.close()
            return spent_seconds / seconds
        finally:
            server.terminate()


def _wait_until_ready(port: int) -> None:
    """Wait until the server answers, at least a minute.

    Raises:
        TimeoutError: it does not.
    """
    # Every tenth of a second.
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError


if __name__ == "__main__":
    main()
