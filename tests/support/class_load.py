"""What a whole class asks of its server at once: answers beside a queue, fifty starts of one person, many visits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from ftlab.runs.jobs.local_launcher import open_queue
from tests.support.live_class import LONG, SHORT, LiveClass
from tests.support.page_client import Tab, open_predict_tab, run_together
from tests.support.staged_jobs import until

_WARM_UP_VISITS = 20
"""Visits before memory is measured: PyTorch is imported, and pools of threads have their size."""


@dataclass
class AnswerReport:
    """Answers to a class.

    Attributes:
        delays: seconds of each answer.
        faults: answers that failed, or were to another's image.
        waiting: trainings that waited in the queue meanwhile.
        steps: training steps that were taken meanwhile.
    """

    delays: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    waiting: int = 0
    steps: int = 0

    def get_percentile(self, percent: int) -> float:
        """A percentile of the delays, in seconds."""
        ordered = sorted(self.delays)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


@dataclass(frozen=True)
class TurnReport:
    """What became of two people of whom one pressed Start many times.

    Attributes:
        accepted: starts of the first one that were queued, with the one at work.
        refusals: what the page said to all others.
        turns_before: trainings of the first one that began while the second one waited.
    """

    accepted: int
    refusals: list[str]
    turns_before: int


@dataclass(frozen=True)
class VisitReport:
    """What visits leave on a server.

    Attributes:
        visits: how many there were.
        faults: answers that failed.
        grown_bytes: resident memory of the server afterwards, more than before.
        temporary_files: files left in the temporary folder of the server, and those of uploads without a name.
    """

    visits: int
    faults: list[str]
    grown_bytes: int
    temporary_files: list[str]


def ask_beside_queue(
    live: LiveClass,
    students: list[httpx.Client],
    count: int,
    model: str,
    images: list[Path],
    *,
    training: dict[str, Any] = LONG,
    ask_others: Callable[[AnswerReport], None] | None = None,
) -> AnswerReport:
    """Let the teacher and every student press Start, so that one training runs and others wait; then let all ask.

    Args:
        live: the class.
        students: their browsers.
        count: images of each.
        model: name of the run that they ask, or of another model that the page offers.
        images: photographs, dealt in turn.
        training: fields of the Train tab.
        ask_others: asks too, meanwhile.
    """
    report, lock = AnswerReport(), threading.Lock()
    tabs = [open_predict_tab(student) for student in students]
    name, answer = live.start(Tab(live.teacher), training)
    assert name, answer
    running = live.get_run(name)
    until(lambda: running.load_history().steps_done)
    assert all(live.start(tab, training)[0] for tab in tabs)
    first_step = running.load_history().steps_done
    report.waiting = len(open_queue(live.server.runs).read_state().waiting)

    def ask_all(number: int) -> None:
        for question in range(count):
            began = time.monotonic()
            image = images[(number * count + question) % len(images)]
            refusal = tabs[number].ask(image, f"s{number}q{question}s", predict_model=model)
            with lock:
                report.delays.append(time.monotonic() - began)
                report.faults += [refusal] if refusal else []

    works = [partial(ask_all, number) for number in range(len(tabs))]
    run_together([*works, *([partial(ask_others, report)] if ask_others else [])])
    report.steps = running.load_history().steps_done - first_step
    live.act("stop", all=True)
    until(lambda: not open_queue(live.server.runs).read_state().active)
    return report


def press_start_often(live: LiveClass, presses: int) -> TurnReport:
    """Let one person press Start many times, then another one once, and see when the turn of this one comes."""
    first, second = Tab(live.enroll("Presses often")), Tab(live.enroll("Presses once"))
    running, answer = live.start(first, LONG)
    assert running, answer
    until(lambda: live.get_run(running).load_history().steps_done)  # until then it counts as one that waits
    names, refusals = list[str](), list[str]()
    for _ in range(presses - 1):
        name, answer = live.start(first, SHORT)
        names += [name] if name else []
        refusals += [] if name else answer.toasts
    own, answer = live.start(second, SHORT)
    assert own, answer
    live.act("stop", run=running)
    until(lambda: live.get_run(own).read_events()[0])
    turns = [name for name in names if live.get_run(name).read_events()[0]]
    live.act("stop", all=True)
    until(lambda: not open_queue(live.server.runs).read_state().active)
    return TurnReport(1 + len(names), refusals, len(turns))


def visit_often(
    live: LiveClass, students: list[httpx.Client], visits: int, model: str, images: list[Path]
) -> VisitReport:
    """Open the page so many times, ask one question each time, and go away."""
    process, faults, before, known = psutil.Process(live.server.process.pid), list[str](), 0, set[Path]()
    for number in range(_WARM_UP_VISITS + visits):
        if number == _WARM_UP_VISITS:
            before, known = process.memory_info().rss, _list_temporary_files(live)
        tab = open_predict_tab(students[number % len(students)])
        refusal = tab.ask(images[number % len(images)], f"v{number}v", predict_model=model)
        faults += [refusal] if refusal else []
    grown_bytes = process.memory_info().rss - before
    left = _list_temporary_files(live) - known
    return VisitReport(visits, faults, grown_bytes, sorted(map(str, left)))


def _list_temporary_files(live: LiveClass) -> set[Path]:
    """Files in the temporary folder of the server, and uploads that have no name yet."""
    uploads = Path(live.server.environment["GRADIO_TEMP_DIR"])
    return {*Path(live.server.environment["TMPDIR"]).rglob("*"), *uploads.glob("tmp*")}
