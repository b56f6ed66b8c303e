"""A folder of 100,000 images against another checkout: seconds of a scan, and memory and accuracy of a training.

    python -m benchmarks.scale FOLDER --against CHECKOUT --rounds 3
    python -m benchmarks.scale FOLDER --only ranks    two ranks against one process: memory (PSS and RSS) and time

Files as in `growth`. Scans alternate between the checkouts, each with empty caches. A training (default backbone,
frozen, 64 pixels, two epochs) is one process with empty caches, per checkout and number of images: its peak of memory
hardly varies. About a quarter of an hour on two cores with one round.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import photographs, rank_memory, two_commits
from benchmarks.process import PROJECT_ROOT, run_python
from benchmarks.row import report_at_most

MAX_SCAN_RATIO, MAX_MEMORY_RATIO = 0.8, 0.6
_VALIDATION_SHARE = 0.1
_SCAN_SCRIPT = """
import json, sys, time
try:
    from ftlab.data.dataset.scan import scan
except ImportError:  # earlier versions
    from ftlab.data.catalog import scan
start = time.monotonic()
catalog = scan(sys.argv[1])
print(json.dumps({"seconds": time.monotonic() - start, "count": sum(map(len, catalog.splits.values()))}))
"""
_TRAIN_ARGUMENTS = (
    # `--side` is what `--image-size` was called: every version reads it.
    *("train", "--side", "64", "--resize", "64", "--epochs", "2", "--json"),
    *("--val-share", str(_VALIDATION_SHARE), "--test-share", "0"),
)


@dataclass(frozen=True)
class TrainingResult:
    """A training.

    Attributes:
        seconds: of the whole process.
        megabytes: peak of its memory in 10⁶ bytes.
        accuracy: best validation accuracy.
    """

    seconds: float
    megabytes: float
    accuracy: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    two_commits.add_against_option(parser)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--base-count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1, help="of scans")
    parser.add_argument("--only", choices=("scan", "training", "ranks"))
    options = parser.parse_args()
    if options.against is None and options.only != "ranks":
        parser.error("--against is missing: what is there to compare with?")
    with tempfile.TemporaryDirectory() as scratch:
        # A thousand files on disk are enough: all others are hard links to them.
        source_folder = photographs.cut_photographs(
            options.folder, Path(scratch, "some"), file_count=1000, class_count=10, size=(300, 200)
        )
        data_by_count = {
            count: photographs.link_photographs(
                source_folder, Path(scratch, str(count)), file_count=count, class_count=100
            )
            for count in (options.base_count, options.count)
        }
        if options.only == "ranks":
            arguments = [*_TRAIN_ARGUMENTS, "--data", str(data_by_count[options.count])]
            rank_memory.compare_ranks(arguments, options.count)
            return
        if options.only != "training":
            _compare_scans(data_by_count[options.count], options.against, options.count, options.rounds)
        if options.only != "scan":
            _compare_trainings(data_by_count, (PROJECT_ROOT, options.against))


def _compare_scans(data: Path, worktree: Path, count: int, rounds: int) -> None:
    """Scan a folder with both checkouts in turn, and print the row.

    Args:
        data: folder of images.
        worktree: folder of the older checkout.
        count: images in the folder.
        rounds: scans by each.
    """

    def time_scan(checkout: Path) -> float:
        with tempfile.TemporaryDirectory() as home:
            result, _ = run_python(["-c", _SCAN_SCRIPT, str(data)], checkout, FTLAB_HOME=home)
        assert result["count"] == count
        return float(result["seconds"])

    values = two_commits.measure_in_turn(time_scan, worktree, rounds, warm_up_rounds=0)
    name = f"{count:,} files tried, of the time before"
    two_commits.report_ratio(name, values, MAX_SCAN_RATIO, values.describe("s"))


def _compare_trainings(data_by_count: dict[int, Path], checkouts: tuple[Path, Path]) -> None:
    """Train on few and many images with both checkouts, and print the rows.

    Args:
        data_by_count: folders of images.
        checkouts: this one and the other.
    """
    base_count, count = data_by_count
    results = {
        (checkout, image_count): measure_training(checkout, data)
        for image_count, data in data_by_count.items()
        for checkout in checkouts
    }
    growths = [results[checkout, count].megabytes - results[checkout, base_count].megabytes for checkout in checkouts]
    peaks = [
        f"{results[checkout, count].megabytes:.0f} MB ({growth:.0f} more than with {base_count:,})"
        for checkout, growth in zip(checkouts, growths, strict=True)
    ]
    seconds = " and ".join(f"{results[checkout, count].seconds:.0f} s" for checkout in checkouts)
    report_at_most(
        f"Peak memory of a training on {count:,} pictures above one on {base_count:,}, of that before",
        growths[0] / growths[1],
        MAX_MEMORY_RATIO,
        "×",
        f"{' and '.join(peaks)}; {seconds}",
    )
    accuracies = [results[checkout, count].accuracy for checkout in checkouts]
    report_at_most(
        f"Validation pictures judged otherwise than before, of {round(count * _VALIDATION_SHARE):,}",
        abs(accuracies[0] - accuracies[1]) * count * _VALIDATION_SHARE,
        1,
        "",
        f"accuracy {accuracies[0]:.4f} and {accuracies[1]:.4f}",
    )


def measure_training(checkout: Path, data: Path) -> TrainingResult:
    """Train on a folder of images, in a process with an ftlab home of its own.

    Args:
        checkout: of ftlab.
        data: the folder.

    Returns:
        Time, memory and accuracy.
    """
    with tempfile.TemporaryDirectory() as scratch:
        peaks_folder = Path(scratch, "peaks")
        peaks_folder.mkdir()
        arguments = [*_TRAIN_ARGUMENTS, "--data", str(data), "--runs", f"{scratch}/runs"]
        # Each checkout has this program, which measures the same.
        result, seconds = run_python(
            ["-m", "benchmarks.peak", str(peaks_folder), *arguments],
            checkout,
            FTLAB_HOME=f"{scratch}/home",
            PYTHONPATH=str(checkout),
        )
        assert result["reason"] == "finished"
        (peak_file,) = peaks_folder.iterdir()
        megabytes = json.loads(peak_file.read_text(encoding="utf-8"))["megabytes"]
    return TrainingResult(seconds, megabytes, result["best_val_accuracy"])


if __name__ == "__main__":
    main()
