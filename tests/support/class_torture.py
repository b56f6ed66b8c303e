"""A class whose server is killed, whose clients lose their network, and which asks for much at once.

    python tests/support/class_torture.py              the whole table, in Markdown
    python tests/support/class_torture.py --only kills network load visits
    python tests/support/class_torture.py --kills 3 --seconds 5 --students 4 --browsers 0 --visits 20

It fails where anything is lost, doubled, left behind or answered wrongly. Times and memory are told, and depend on what
else the machine does.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.class_load import ask_beside_queue, press_start_often, visit_often
from tests.support.faulty_clients import FaultReport, FaultyClients
from tests.support.killed_server import kill_server
from tests.support.live_class import LiveClass

PARTS = ("kills", "network", "load", "visits")
MOST_GROWN_BYTES = 50_000_000
"""Bytes that the server may grow by 500 visits."""
MOST_START_SECONDS = 5.0
"""Seconds from a new start, until the page shows all again, on a machine that does nothing else."""


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        what: what was done.
        count: how often.
        details: what came of it.
        faults: what went wrong.
    """

    what: str
    count: int
    details: str
    faults: list[str]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--students", type=int, default=30)
    options.add_argument("--images", type=int, default=10)
    options.add_argument("--browsers", type=int, default=5)
    options.add_argument("--presses", type=int, default=50)
    options.add_argument("--visits", type=int, default=500)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    failed = False
    print("| what | how often | seen | wrong |\n|---|---|---|---|")
    for part in chosen.only:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="ftlab-class-torture-") as folder:
            for row in MAKERS[part](Path(folder), chosen):
                print(f"| {row.what} | {row.count} | {row.details} | {len(row.faults)} |", flush=True)
                for fault in row.faults[:5]:
                    print(f"{row.what}: {fault}", file=sys.stderr, flush=True)
                failed |= bool(row.faults)
        print(f"{part}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return int(failed)


def make_kills(folder: Path, chosen: argparse.Namespace) -> Iterator[Row]:
    report = kill_server(folder, chosen.kills, 4, random.Random(chosen.seed))
    seconds = sorted(report.seconds)
    soon = sum(second <= MOST_START_SECONDS for second in seconds)
    details = (
        f"all there again after {seconds[0]:.1f} to {seconds[-1]:.1f} s from the new start, median "
        f"{seconds[len(seconds) // 2]:.1f} s; {soon} of {len(seconds)} within {MOST_START_SECONDS:.0f} s"
    )
    yield Row("the server killed, and started again", report.kills, details, report.faults)


def make_network(folder: Path, chosen: argparse.Namespace) -> Iterator[Row]:
    live, strays = LiveClass(folder), list[str]()
    try:
        clients = FaultyClients(live, live.train_model(), others=4)
        seconds = f"{chosen.seconds:g} s"
        for what, run in (
            ("nothing, for comparison", partial(clients.watch_others, chosen.seconds)),
            ("a page closed in the middle of an answer", partial(clients.close_in_mid_answer, chosen.kills)),
            (f"a network that carries nothing for {seconds}", partial(clients.lose_network, chosen.seconds)),
            ("two tabs of one person, asking at once", partial(clients.use_two_tabs, chosen.kills)),
            (f"an answer read slowly, or not at all, for {seconds}", partial(clients.read_slowly, 8, chosen.seconds)),
        ):
            report = run()
            yield Row(what, report.times, _describe_others(report), report.faults)
    finally:
        strays += live.close()
    yield Row("processes left behind", 1, "", strays)


def make_load(folder: Path, chosen: argparse.Namespace) -> Iterator[Row]:
    live = LiveClass(folder)
    try:
        model = live.train_model()
        images = sorted(live.pictures.rglob("*.jpg"))
        students = [live.enroll(f"Student {number}") for number in range(chosen.students)]
        ask_others = None
        if chosen.browsers:
            from tests.support.browser_load import ask_in_browsers

            with_browser = [live.enroll(f"Browser {number}") for number in range(chosen.browsers)]
            ask_others = partial(ask_in_browsers, live.server.url, with_browser, chosen.images, images)
        report = ask_beside_queue(live, students, chosen.images, model, images, ask_others=ask_others)
        expected = (chosen.students + chosen.browsers) * chosen.images
        faults = [*report.faults, *(["answers are missing"] if len(report.delays) != expected else [])]
        details = f"half within {report.get_percentile(50):.1f} s, 95 in 100 within {report.get_percentile(95):.1f} s; "
        details += f"{report.waiting} trainings waited, {report.steps} steps were taken"
        yield Row(f"answers to {chosen.students} clients and {chosen.browsers} browsers", expected, details, faults)
        turn = press_start_often(live, chosen.presses)
        details = (
            f"{turn.accepted} accepted, {len(turn.refusals)} refused; another one's waited for {turn.turns_before}"
        )
        faults = ["the other one waited too long"] if turn.turns_before > 1 else []
        faults += [refusal for refusal in turn.refusals if "are waiting already" not in refusal]
        yield Row("Start pressed by one person", chosen.presses, details, faults)
    finally:
        faults = live.close()
    yield Row("processes left behind", 1, "", faults)


def make_visits(folder: Path, chosen: argparse.Namespace) -> Iterator[Row]:
    live = LiveClass(folder)
    try:
        model = live.train_model()
        images = sorted(live.pictures.rglob("*.jpg"))
        students = [live.enroll(f"Visitor {number}") for number in range(10)]
        report = visit_often(live, students, chosen.visits, model, images)
        faults = [*report.faults, *(f"left: {file}" for file in report.temporary_files)]
        faults += ["too much memory"] if report.grown_bytes > MOST_GROWN_BYTES else []
        details = f"{report.grown_bytes / 1e6:+.1f} MB, {len(report.temporary_files)} temporary files"
        yield Row("visits with a question", report.visits, details, faults)
    finally:
        live.close()


def _describe_others(report: FaultReport) -> str:
    return (
        f"{len(report.delays)} answers to 4 others: half within {report.median:.2f} s, 95 in 100 within "
        f"{report.get_percentile(95):.2f} s; {report.grown_bytes / 1e6:+.1f} MB"
    )


MAKERS = dict(zip(PARTS, (make_kills, make_network, make_load, make_visits), strict=True))

if __name__ == "__main__":
    sys.exit(main())
