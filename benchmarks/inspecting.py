"""Pace of the heat maps that Inspect's gallery shows, as a share of the pace of feature extraction from the same files.

    python -m benchmarks.inspecting FOLDER --rounds 3

A frozen run of one epoch on FOLDER is trained and evaluated. Each round extracts the features of its training images
in this process, and then has the gallery answer a press on each of them: image, the maps of the true and of the
next class, and their HTML. As many threads press at a time as the page serves. The result is the median of the
rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import gradio as gr
import torch

from benchmarks.pipeline import choose_feature_engine, compute_features
from benchmarks.process import run_python
from benchmarks.row import measure_seconds, report_at_least
from ftlab.core.machine import count_cpu_cores
from ftlab.evaluation import evaluate
from ftlab.inference.load_model import load_predictor
from ftlab.runs import run_store
from ftlab.server.profile import ServerProfile
from ftlab.ui.inspect.actions import InspectActions
from ftlab.ui.inspect.choices import EvaluationChoice

CONCURRENT_PRESSES = 4
"""Presses that the page answers at a time."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=400)
    options = parser.parse_args()
    torch.set_num_threads(count_cpu_cores())
    with tempfile.TemporaryDirectory() as scratch:
        train_run(options.folder, Path(scratch))
        measure(Path(scratch), options.pictures, options.rounds)


def train_run(image_folder: Path, runs: Path) -> None:
    """Train a frozen run of one epoch in `runs`, in a process of its own."""
    arguments = ["--data", str(image_folder), "--mode", "frozen", "--epochs", "1", "--runs", str(runs), "--json"]
    run_python(["-m", "ftlab", "train", *arguments])


def measure(runs: Path, picture_count: int, rounds: int) -> None:
    """Measure the newest run in a folder, and print.

    Args:
        runs: folder of the run.
        picture_count: presses in a round; an image may be pressed more than once.
        rounds: after the first, which warms up.
    """
    run = run_store.find_run(runs, "latest")
    actions = InspectActions(ServerProfile(runs, runs))
    choice: EvaluationChoice = ({}, run.name, "best", "train", "")
    actions.evaluate(*choice, progress=lambda *_, **__: None)  # type: ignore[arg-type]
    evaluation = evaluate.load_evaluation(run, actions.resolve_choice(choice)[2], "best")
    assert evaluation
    model = load_predictor(run, "best")
    indices = list(islice(cycle(range(len(evaluation.result.labels))), picture_count))
    files = [evaluation.result.get_image_path(index) for index in indices]
    engine = choose_feature_engine(model)

    def press(index: int) -> None:
        markup = actions.explain_image(*choice, gr.EventData(None, {"index": index}))
        assert "<canvas" in markup or "sub" in markup

    def press_all() -> None:
        with ThreadPoolExecutor(CONCURRENT_PRESSES) as pool:
            for _ in pool.map(press, indices):
                pass

    press(0)
    model.prepare_graph().result()
    paces: dict[str, list[float]] = {"features": [], "gallery": []}
    for round_index in range(rounds + 1):
        timings = {
            "features": measure_seconds(partial(compute_features, engine, model.prep, files)),
            "gallery": measure_seconds(press_all),
        }
        if round_index:
            for name, seconds in timings.items():
                paces[name].append(len(files) / seconds)
    details = ", ".join(f"{name} {statistics.median(values):.3g}/s" for name, values in paces.items())
    report_at_least(
        f"Heat maps of Inspect's gallery, {model.spec.title}: presses of the features' pace",
        statistics.median(g / f for g, f in zip(paces["gallery"], paces["features"], strict=True)),
        0.8,
        "×",
        f"{details}; {len(files)} pictures, two maps each, {CONCURRENT_PRESSES} at a time, {rounds} rounds",
    )


if __name__ == "__main__":
    main()
