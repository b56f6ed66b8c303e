"""Full fine-tuning from the second epoch on, beside an older commit.

    python -m benchmarks.full_training FOLDER --against WORKTREE --rounds 3

Each measurement is a training in a process of its own, of which the images per second of the epochs from the second one
on count, as the run has recorded them; both commits train in turn. Nothing is compiled unless `--compile` says so.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import two_commits
from benchmarks.process import run_python

MIN_RATIO = 1.3
"""Target for the images per second, relative to the older commit."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--mode", default="full", choices=("full", "scratch"), help="scratch needs no weights")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--compile", default="no")
    parser.add_argument("--rounds", type=int, default=3)
    two_commits.add_against_option(parser, required=True)
    options = parser.parse_args()
    arguments = ["--data", str(options.folder.absolute())]
    for name in ("backbone", "mode", "batch_size", "epochs", "compile"):
        arguments += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    values = two_commits.measure_in_turn(
        partial(measure_pace, arguments), options.against, options.rounds, warm_up_rounds=0
    )
    title = f"Full fine-tuning, {options.backbone}, batches of {options.batch_size}, from the second epoch"
    two_commits.report_ratio(
        f"{title}: images per second relative to {two_commits.OLD_COMMIT}",
        values,
        MIN_RATIO,
        values.describe("/s"),
        larger_is_better=True,
    )


def measure_pace(arguments: list[str], checkout: Path) -> float:
    """Return the images per second of a training from its second epoch on, the median of the epochs.

    Args:
        arguments: of `ftlab train`, which both commits know.
        checkout: whose training it is.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "ftlab", "train", *arguments, "--runs", str(Path(folder, "runs")), "--json"]
        run_python(command, checkout, FTLAB_HOME=str(Path(folder, "home")))
        (events_file,) = Path(folder, "runs").rglob("metrics.jsonl")
        events = [json.loads(line) for line in events_file.read_text(encoding="utf-8").splitlines()]
    paces = [event["images_per_second"] for event in events if event["event"] == "epoch" and event["epoch"] > 1]
    return float(statistics.median(paces))


if __name__ == "__main__":
    main()
