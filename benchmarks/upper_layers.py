"""Training of the upper layers on cached activations, beside a training of all layers, and of the same without a cache.

    python -m benchmarks.upper_layers FOLDER --rounds 3
    python -m benchmarks.upper_layers FOLDER --rounds 1 --classes 101 --pictures 6435

Each round runs every way in a process of its own, with a seed of its own and empty caches, in turn; speeds are images
per second from the second epoch on. With `--classes`, photographs of that many classes are cut from those of FOLDER,
of which two thirds are for training and one third for validation.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import photographs
from benchmarks.process import run_python
from benchmarks.row import report_at_least, report_at_most
from ftlab.runs import run_store

UPPER_ARGUMENTS = ["--mode", "full", "--unfreeze-from", "auto"]
WAYS = {
    "all": ["--mode", "full"],
    "fresh": [*UPPER_ARGUMENTS, "--cached-views", "1"],
    "cached": [*UPPER_ARGUMENTS, "--activations", "cached"],
    "frozen": ["--mode", "frozen"],
    "top": ["--recipe", "top"],
}
"""Arguments of each way to train."""


@dataclass(frozen=True)
class TrainingResult:
    """Speed, accuracy and cache of a training.

    Attributes:
        pace: images per second from the second epoch on, the median.
        best_count: validation images that the best epoch has right.
        image_count: validation images.
        seconds: of the whole process.
        cache_megabytes: size of the feature cache after it.
        peak_megabytes: peak resident memory of the process, pages of the mapped activations included.
    """

    pace: float
    best_count: int
    image_count: int
    seconds: float
    cache_megabytes: float
    peak_megabytes: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--classes", type=int, default=0, help="of photographs that are cut; 0 for FOLDER itself")
    parser.add_argument("--pictures", type=int, default=6435, help="of those classes together")
    parser.add_argument("--ways", nargs="+", choices=sorted(WAYS), default=sorted(WAYS))
    options = parser.parse_args()
    results: dict[str, list[TrainingResult]] = {way: [] for way in options.ways}
    with tempfile.TemporaryDirectory() as scratch:
        data = options.folder.absolute()
        if options.classes:
            data = photographs.cut_photographs(
                data, Path(scratch, "data"), file_count=options.pictures, class_count=options.classes, size=(300, 200)
            )
        for seed in range(options.rounds):
            for way in options.ways:
                arguments = ["--data", str(data), "--backbone", options.backbone, "--seed", str(seed), *WAYS[way]]
                if way not in ("frozen", "top"):
                    arguments += ["--epochs", str(options.epochs), "--batch-size", "32", "--compile", "no"]
                if options.classes:
                    arguments += ["--val-share", "0.33", "--test-share", "0"]
                results[way].append(measure_training(arguments, Path(scratch, f"{way}{seed}")))
    details = "; ".join(f"{way}: {describe_results(way_results)}" for way, way_results in results.items())
    report_results(f"{options.backbone}, {options.classes or 'two'} classes", results, details)


def measure_training(arguments: list[str], home: Path) -> TrainingResult:
    """Return what one training took and reached.

    Args:
        arguments: of `ftlab train`.
        home: folder for its caches and its run.

    Returns:
        The result.
    """
    runs_dir = home / "runs"
    peaks_dir = home / "peaks"
    peaks_dir.mkdir(parents=True)
    command = ["-m", "benchmarks.peak", str(peaks_dir), "train", *arguments, "--json", "--runs", str(runs_dir)]
    _, seconds = run_python(command, FTLAB_HOME=str(home))
    (peak_file,) = peaks_dir.iterdir()
    run = run_store.find_run(runs_dir, "latest")
    epochs, files_of_classes = run.load_history().epochs, run.read_json("split.json")["splits"]["val"]
    image_count = sum(map(len, files_of_classes.values()))
    paces = [epoch.images_per_second for epoch in epochs[2:] if epoch.images_per_second]
    cache_file = home / "features.sqlite"
    return TrainingResult(
        pace=statistics.median(paces),
        best_count=round(max(epoch.val_accuracy or 0.0 for epoch in epochs) * image_count),
        image_count=image_count,
        seconds=seconds,
        cache_megabytes=cache_file.stat().st_size / 1e6 if cache_file.exists() else 0.0,
        peak_megabytes=json.loads(peak_file.read_text(encoding="utf-8"))["megabytes"],
    )


def describe_results(results: list[TrainingResult]) -> str:
    """Return the medians of some trainings, and what each reached."""
    pace, seconds, megabytes, peak = (
        statistics.median(getattr(result, name) for result in results)
        for name in ("pace", "seconds", "cache_megabytes", "peak_megabytes")
    )
    reached = ", ".join(str(result.best_count) for result in results)
    cache_size = f", {megabytes:.0f} MB kept" if megabytes else ""
    accuracy = f"{reached} of {results[0].image_count} right"
    return f"{pace:.0f}/s, {seconds:.0f} s, {accuracy}, {peak:.0f} MB of memory{cache_size}"


def report_results(title: str, results: dict[str, list[TrainingResult]], details: str) -> None:
    """Print the comparisons for which there are results.

    Args:
        title: what was trained on what.
        results: by way, one for each round.
        details: what the values are made of.
    """

    def compute_mean_count(way: str) -> float:
        return statistics.mean(result.best_count for result in results[way])

    if {"cached", "all"} <= set(results):
        ratios = [a.pace / b.pace for a, b in zip(results["cached"], results["all"], strict=True)]
        name = f"Upper layers on cached activations, {title}: speed from the second epoch, times that of all layers"
        report_at_least(name, statistics.median(ratios), 4, "×", details)
    if {"cached", "fresh"} <= set(results):
        image_count = results["cached"][0].image_count
        gap = abs(compute_mean_count("cached") - compute_mean_count("fresh")) / image_count
        report_at_most(
            f"The same, {title}: best validation accuracy, from that without the cache", gap, 0.01, "", details
        )
    if {"top", "frozen"} <= set(results):
        missing = compute_mean_count("frozen") - compute_mean_count("top")
        report_at_most(f"Recipe top, {title}: images fewer right than frozen", missing, 1, "images", details)


if __name__ == "__main__":
    main()
