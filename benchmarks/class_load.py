"""A class at work on one server: answers beside a training and a queue, in real browsers too; many starts; many visits.

    python -m benchmarks.class_load FOLDER

FOLDER has `train/` and `val/`, each with one folder of photographs per class. The teacher's full fine-tune runs, every
student's waits in the queue, and all ask the network that is not fine-tuned, each about images of their own.
`python tests/support/class_torture.py` does the same on drawn pictures.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.row import report_at_most
from tests.support.browser_load import ask_in_browsers
from tests.support.class_load import ask_beside_queue, press_start_often, visit_often
from tests.support.live_class import LiveClass

_MODEL = "untrained"
"""Name by which the page offers the network that is not fine-tuned."""
_TRAINING: dict[str, Any] = {"train_mode": "full", "train_epochs": 500, "train_compile": "no"}
"""Fields of the Train tab."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--students", type=int, default=30)
    parser.add_argument("--browsers", type=int, default=5)
    parser.add_argument("--images", type=int, default=10, help="that each of them asks about")
    parser.add_argument("--presses", type=int, default=50, help="of Start by one person")
    parser.add_argument("--visits", type=int, default=500)
    options = parser.parse_args()
    images = sorted((options.folder / "val").rglob("*.jpg"))
    with tempfile.TemporaryDirectory() as scratch:
        live = LiveClass(Path(scratch), options.folder.resolve())
        try:
            _measure(live, options, images)
        finally:
            strays = live.close()
        report_at_most("Class: processes left behind", len(strays), 0, "", "; ".join(strays))


def _measure(live: LiveClass, options: argparse.Namespace, images: list[Path]) -> None:
    """Print the rows of a class.

    Args:
        live: the class.
        options: of the command line.
        images: photographs to ask about.
    """
    students = [live.enroll(f"Student {number}") for number in range(options.students)]
    with_browser = [live.enroll(f"Browser {number}") for number in range(options.browsers)]
    visits = visit_often(live, students[:10], options.visits, _MODEL, images)
    name, details = f"Class, {visits.visits} visits with a question", "; ".join(visits.faults[:3])
    report_at_most(f"{name}: failed", len(visits.faults), 0, "", details)
    report_at_most(f"{name}: memory of the server", visits.grown_bytes / 1e6, 50, "MB", "more than before")
    files = "; ".join(visits.temporary_files[:3])
    report_at_most(f"{name}: temporary files left", len(visits.temporary_files), 0, "", files)
    ask_others = (
        partial(ask_in_browsers, live.server.url, with_browser, options.images, images) if with_browser else None
    )
    report = ask_beside_queue(live, students, options.images, _MODEL, images, training=_TRAINING, ask_others=ask_others)
    details = (
        f"{len(report.delays)} answers, half within {report.get_percentile(50):.1f} s, 95 in 100 within "
        f"{report.get_percentile(95):.1f} s; {report.waiting} trainings waited, {report.steps} steps were taken"
    )
    name = f"Class, {options.students} clients and {options.browsers} browsers beside a training"
    report_at_most(f"{name}: errors and answers to another image", len(report.faults), 0, "", details)
    turn = press_start_often(live, options.presses)
    details = f"{turn.accepted} of {options.presses} accepted, {len(turn.refusals)} refused in one line"
    report_at_most("Class, Start pressed often by one: turns another one waits", turn.turns_before, 1, "", details)


if __name__ == "__main__":
    main()
