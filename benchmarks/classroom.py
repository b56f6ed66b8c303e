"""Load of a class on one server: answers a second and their delay, beside a training, against another checkout.

    python -m benchmarks.classroom FOLDER --against CHECKOUT

FOLDER has `train/` and `val/`, each with one folder of photographs per class. Each client is a thread with its own HTTP
connection and cookie; it uploads a photograph, asks for the five likeliest classes with a heat map, and waits for the
answer as the page does: for a stream of events, or for the answer itself. Every answer must be to the client's own
image. Servers and trainings of the two checkouts take turns; ratios are of medians.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.page import find_free_port
from benchmarks.process import PROJECT_ROOT
from benchmarks.row import report_at_least, report_at_most
from ftlab.runs.jobs import priority

_READY_TIMEOUT_SECONDS = 180.0
_ANSWER_TIMEOUT_SECONDS = 300.0
_STEPS_BEFORE_LOAD = 6
"""Training steps that are waited for before the load begins."""
_WARM_UP_IMAGES = 80
"""Questions before the measurement."""


@dataclass
class LoadResult:
    """Answers that the clients got, and how long they took.

    Attributes:
        delays: seconds of each answer, from the upload to its last byte.
        seconds: from the first request to the last answer.
        failures: refusals, errors, and answers to another image.
        steps_per_second: pace of the training beside; 0.0 without one.
    """

    delays: list[float] = field(default_factory=list)
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    steps_per_second: float = 0.0

    @property
    def answers_per_second(self) -> float:
        """Return the rate of answers."""
        return len(self.delays) / self.seconds if self.seconds else 0.0

    def get_percentile(self, percent: int) -> float:
        """Return a percentile of the delays in seconds."""
        ordered = sorted(self.delays) or [float("nan")]
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


class Student:
    """One client of the page."""

    def __init__(self, url: str, number: int, room_code: str) -> None:
        """Open the page, and join if the server is a class.

        Args:
            url: address of the page.
            number: number of the student.
            room_code: code to join with; empty: there is no class.
        """
        self.http = httpx.Client(base_url=url, timeout=_ANSWER_TIMEOUT_SECONDS)
        self.number = number
        if room_code:
            self.http.get("/ftlab/join")
            self.http.post("/ftlab/join", json={"code": room_code, "name": f"student {number}"}).raise_for_status()
        self.http.get("/")
        config = self.http.get("/config").json()
        components = {component["id"]: component for component in config["components"]}
        events = {event["api_name"]: event for event in config["dependencies"]}
        # In older versions the page's event had the name that the endpoint for programs has now.
        self._event = events.get("show_prediction") or events["predict"]
        self._inputs = [components[number] for number in self._event["inputs"]]
        # What an answer says of the page is sent with the next question, as the page does.
        self._last_outputs: dict[int, Any] = {}

    def ask(self, image: Path, question: int) -> str:
        """Ask what is on an image.

        Args:
            image: a photograph.
            question: number of the question of this student.

        Returns:
            Empty if the answer is to this image; else what was told instead.
        """
        tag = f"s{self.number}q{question}"
        uploaded = self.http.post("/gradio_api/upload", files={"files": (f"{tag}.jpg", image.read_bytes())})
        if uploaded.status_code != 200:
            return uploaded.text
        session = f"{tag}session"
        body: dict[str, Any] = {
            "data": self._fill_inputs(uploaded.json()[0]),
            "fn_index": self._event["id"],
            "session_hash": session,
        }
        if self._event["queue"] is False:
            return self._ask_at_once(body, tag)
        joined = self.http.post("/gradio_api/queue/join", json=body)
        if joined.status_code != 200:
            return joined.text
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                if '"process_completed"' in line:
                    # The image that can be downloaded is called as the one that was sent.
                    return "" if tag in line and '"success":true' in line.replace(" ", "") else line[:300]
        return "the stream ended without an answer"

    def _ask_at_once(self, body: dict[str, Any], tag: str) -> str:
        """Ask without the queue, where the page does so.

        Args:
            body: of the request.
            tag: name of the image.

        Returns:
            As `ask`.
        """
        response = self.http.post(f"/gradio_api/run/{self._event['api_name']}", json=body)
        if response.status_code != 200 or tag not in response.text:
            return response.text[:300]
        self._last_outputs = dict(zip(self._event["outputs"], response.json()["data"], strict=True))
        return ""

    def _fill_inputs(self, uploaded_path: str) -> list[Any]:
        """Return the values of the event's inputs: those of a page that was just opened, and the image."""
        values = list[Any]()
        for component in self._inputs:
            if component["type"] == "image":
                values.append({"path": uploaded_path, "meta": {"_type": "gradio.FileData"}})
            elif component["type"] == "browserstate":
                values.append({"run": None})
            elif component["type"] == "textbox":
                values.append(self._last_outputs.get(component["id"], ""))
            else:
                values.append(component["props"].get("value"))
        return values


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout of ftlab, measured in turn")
    parser.add_argument("--students", type=int, default=30)
    parser.add_argument("--images", type=int, default=5, help="that each student asks about, at least")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two images of a student at ease")
    options = parser.parse_args()
    images = sorted((options.folder / "val").rglob("*.jpg"))
    checkouts = [PROJECT_ROOT, *([options.against.resolve()] if options.against else [])]
    results: dict[tuple[str, Path], list[LoadResult]] = {}
    for _ in range(options.rounds):
        for checkout in checkouts:
            for name, result in _measure_checkout(checkout, options, images):
                results.setdefault((name, checkout), []).append(result)
                print(_describe(f"{checkout.name}: {name}", result), file=sys.stderr, flush=True)
    for name in dict.fromkeys(name for name, _ in results):
        _report(name, [results[name, checkout] for checkout in checkouts])


def _measure_checkout(
    checkout: Path, options: argparse.Namespace, images: Sequence[Path]
) -> Iterator[tuple[str, LoadResult]]:
    """Measure every kind of load on one checkout.

    Yields:
        Name of the load and its result.
    """
    with tempfile.TemporaryDirectory() as scratch, serve(checkout, Path(scratch)) as (url, room_code):
        students = [Student(url, number, room_code) for number in range(options.students)]
        # Until the network has been made a graph, where that is done.
        warm_up = run_load(students[:1], images, _WARM_UP_IMAGES, 0.0)
        assert not warm_up.failures, warm_up.failures
        yield "one client", run_load(students[:1], images, 12 * options.images, 0.0)
        with train_beside(checkout, options.folder, Path(scratch)) as count_steps:
            start, first_steps = time.monotonic(), count_steps()
            time.sleep(3 * options.every)
            alone = LoadResult(steps_per_second=(count_steps() - first_steps) / (time.monotonic() - start))
            yield "training alone", alone
            # As long for both kinds, so that the steps of the training can be counted.
            seconds = options.every * options.images
            for name, pause in (("all waiting", 0.0), ("all at ease", options.every)):
                start, first_steps = time.monotonic(), count_steps()
                result = run_load(students, images, options.images, pause, 0.0 if pause else seconds)
                result.steps_per_second = (count_steps() - first_steps) / (time.monotonic() - start)
                yield name, result


@contextmanager
def serve(checkout: Path, scratch: Path) -> Iterator[tuple[str, str]]:
    """Serve the page of a checkout; for a class where it knows classes.

    Args:
        checkout: the checkout.
        scratch: folder for the runs and for `FTLAB_HOME`.

    Yields:
        Address of the page, and the room code; empty where there are no classes.
    """
    port, runs_dir = find_free_port(), scratch / "runs"
    has_classes = (checkout / "ftlab" / "server" / "people").is_dir()
    command = [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(port), "--runs", str(runs_dir)]
    command += ["--no-browser", *(["--classroom"] if has_classes else ["--data-root", str(scratch)])]
    with (scratch / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=checkout, env=_make_environment(scratch), stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}/"
        _wait_for_page(url, server)
        members_file = runs_dir / ".people" / "members.json"
        yield url, json.loads(members_file.read_text(encoding="utf-8"))["room_code"] if has_classes else ""
    finally:
        server.terminate()
        server.wait()


@contextmanager
def train_beside(checkout: Path, folder: Path, scratch: Path) -> Iterator[Any]:
    """Train as somebody in the class does, for as long as the block takes.

    Args:
        checkout: the checkout.
        folder: the images.
        scratch: folder for the run.

    Yields:
        A function that returns the number of steps so far.

    Raises:
        RuntimeError: the training did not start.
    """
    # Of the server, which knows by its runs that a training is at work.
    runs_dir = scratch / "runs"
    command = [sys.executable, "-m", "ftlab", "train", "--data", str(folder), "--runs", str(runs_dir)]
    command += ["--mode", "full", "--epochs", "500", "--compile", "no"]
    log_path = scratch / "training.log"
    with log_path.open("wb") as log:
        # As a server for others starts it; older checkouts do not know the variable.
        environment = {**_make_environment(scratch), priority.PRIORITY_ENV: "1"}
        training = subprocess.Popen(command, cwd=checkout, env=environment, stdout=log, stderr=log)

    def count_steps() -> int:
        lines = [line for path in runs_dir.glob("*/metrics.jsonl") for line in path.read_bytes().splitlines()]
        return max((json.loads(line).get("step", 0) for line in lines if b'"step"' in line), default=0)

    try:
        deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
        while count_steps() < _STEPS_BEFORE_LOAD:
            if time.monotonic() > deadline or training.poll() is not None:
                raise RuntimeError(log_path.read_text(encoding="utf-8", errors="replace")[-2000:])
            time.sleep(0.2)
        yield count_steps
    finally:
        training.kill()
        training.wait()


def run_load(
    students: Sequence[Student], images: Sequence[Path], count: int, pause: float, seconds: float = 0.0
) -> LoadResult:
    """Let students ask about images, all at the same time.

    Args:
        students: the clients.
        images: photographs, dealt in turn.
        count: images of each student, at least.
        pause: seconds from one image of a student to the next; 0: as soon as the answer is there.
        seconds: for which they ask, at least.

    Returns:
        What they saw.
    """
    result, lock = LoadResult(), threading.Lock()

    def ask_all(student: Student) -> None:
        # Spread over the pause, as people are.
        next_time = time.monotonic() + pause * student.number / max(1, len(students))
        for question in itertools.count():
            if question >= count and time.monotonic() >= load_start + seconds:
                return
            time.sleep(max(0.0, next_time - time.monotonic()) if pause else 0.0)
            next_time += pause
            start = time.monotonic()
            failure = student.ask(images[(student.number * count + question) % len(images)], question)
            with lock:
                result.delays.append(time.monotonic() - start)
                if failure:
                    result.failures.append(failure)

    threads = [threading.Thread(target=ask_all, args=(student,)) for student in students]
    load_start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result.seconds = time.monotonic() - load_start
    return result


def _report(name: str, results: Sequence[list[LoadResult]]) -> None:
    """Print the rows of one kind of load."""
    details = " | ".join(_describe(side, result[0]) for side, result in zip(("now", "before"), results, strict=False))
    failures = [failure for result in results[0] for failure in result.failures]
    if name != "training alone":
        report_at_most(f"Class, {name}: errors and answers to another image", len(failures), 0, "", details)
    if len(results) < 2:
        return
    rates = [statistics.median(result.answers_per_second for result in side) for side in results]
    delays = [statistics.median(result.get_percentile(95) for result in side) for side in results]
    paces = [statistics.median(result.steps_per_second for result in side) for side in results]
    if name in ("one client", "all waiting"):
        report_at_least(f"Class, {name}: answers a second against before", rates[0] / rates[1], 3.0, "×", details)
    if name in ("all waiting", "all at ease"):
        report_at_most(f"Class, {name}: delay of 95 in 100 against before", delays[0] / delays[1], 0.333, "×", details)
    if paces[1]:
        report_at_least(f"Class, {name}: pace of the training against before", paces[0] / paces[1], 1.0, "×", details)


def _describe(name: str, result: LoadResult) -> str:
    parts = [name]
    if result.delays:
        parts.append(f"{result.answers_per_second:.2f} answers/s")
        parts.append(f"p50 {result.get_percentile(50):.2f} s, p95 {result.get_percentile(95):.2f} s")
        parts.append(f"{len(result.failures)} of {len(result.delays)} failed")
    if result.steps_per_second:
        parts.append(f"{result.steps_per_second:.2f} training steps/s")
    return ", ".join(parts)


def _make_environment(scratch: Path) -> dict[str, str]:
    return {**os.environ, "FTLAB_HOME": str(scratch / "home"), "GRADIO_TEMP_DIR": str(scratch / "uploads")}


def _wait_for_page(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            httpx.get(url, timeout=2)
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise RuntimeError(f"the server at {url} does not answer")


if __name__ == "__main__":
    main()
