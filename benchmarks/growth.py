"""Growth of time and memory with the number of images and processes: of scanning a folder, and of training on it.

    python -m benchmarks.growth FOLDER --counts 1000 10000 100000 --processes 1 2 --draw assets/growth.svg

Files of about 300 × 200 pixels in 100 classes, hard links to 1,000 that are cut from FOLDER's photographs. For each
count, one process lists and verifies them; others train on them (default backbone, frozen, 64 pixels, so that a forward
pass takes little time; its features are as long as ever), alone and as several processes of torchrun, which share the
CPU cores. Memory is the peak of each process, and their sum without torchrun's own; memory that they share, such as the
libraries' code, counts in each. About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import photographs, table
from benchmarks.growth_data import ScanCost, ScanCosts, TrainingCost, TrainingCosts
from benchmarks.process import run_python
from benchmarks.row import report_at_least, report_at_most
from ftlab.core.machine import count_cpu_cores
from ftlab.runs.directory import Run
from ftlab.runs.events import LogMessage
from ftlab.runs.jobs.launch import build_environment

_SCAN_SCRIPT = """
import json, sys, time
from benchmarks.peak import measure_peak_megabytes
from ftlab.data.dataset import scan
start = time.monotonic()
scan.scan(sys.argv[1], check=False)
list_seconds = time.monotonic() - start
start = time.monotonic()
catalog = scan.scan(sys.argv[1])
verify_seconds = time.monotonic() - start
time.sleep(3)  # a file that changed just now is not trusted, and not cached
scan.scan(sys.argv[1])
start = time.monotonic()
second_catalog = scan.scan(sys.argv[1])
rescan_seconds = time.monotonic() - start
assert second_catalog == catalog
print(json.dumps({
    "list_seconds": list_seconds,
    "verify_seconds": verify_seconds,
    "rescan_seconds": rescan_seconds,
    "megabytes": measure_peak_megabytes(),
    "count": sum(map(len, catalog.splits.values())),
}))
"""
"""Program that scans a folder: listing only, verifying each file, and again from the cache of verified files."""
_TRAIN_ARGUMENTS = (
    *("train", "--image-size", "64", "--resize", "64", "--epochs", "2", "--json"),
    *("--val-share", "0.1", "--test-share", "0"),
)
TORCHRUN_ARGUMENTS = (
    *("-m", "torch.distributed.run", "--local-addr", "127.0.0.1"),
    *("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"),  # port 0: any free one
)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--draw", type=Path, metavar="FILE", help="SVG or PNG")
    options = parser.parse_args()
    machine_info = table.describe_machine()
    scans: ScanCosts = {}
    trainings: TrainingCosts = {process_count: {} for process_count in options.processes}
    with tempfile.TemporaryDirectory() as scratch:
        # 1,000 files on disk are enough: all others are hard links to them.
        source_folder = photographs.cut_photographs(
            options.folder, Path(scratch, "some"), file_count=1000, class_count=10, size=(300, 200)
        )
        for image_count in options.counts:
            data = photographs.link_photographs(
                source_folder, Path(scratch, str(image_count)), file_count=image_count, class_count=100
            )
            scans[image_count] = _measure_scan(data, Path(scratch, f"home{image_count}"), image_count)
            for process_count in options.processes:
                trainings[process_count][image_count] = _measure_training(
                    data, Path(scratch, f"home{image_count}-{process_count}"), process_count
                )
                summary = trainings[process_count][image_count].summary
                print(f"{image_count:,} pictures, {process_count} at work: {summary}", flush=True)
    _report_scans(scans)
    _report_trainings(trainings)
    if options.draw:
        from benchmarks.drawing import draw_growth  # matplotlib is needed for the figure only

        draw_growth(scans, trainings, options.draw, machine_info)


def _measure_scan(data: Path, home: Path, image_count: int) -> ScanCost:
    """Return what scanning the folder costs, in a process with an ftlab home of its own."""
    result, _ = run_python(["-c", _SCAN_SCRIPT, str(data)], FTLAB_HOME=str(home))
    assert result.pop("count") == image_count
    return ScanCost(**result)


def _measure_training(data: Path, home: Path, process_count: int) -> TrainingCost:
    """Return what a training on the folder costs, with an ftlab home of its own.

    Args:
        data: folder of images.
        home: ftlab's home folder for this training.
        process_count: ranks; torchrun starts more than one.
    """
    peaks_folder = home / "peaks"
    peaks_folder.mkdir(parents=True)
    arguments = [
        "-m",
        "benchmarks.peak",
        str(peaks_folder),
        *_TRAIN_ARGUMENTS,
        "--data",
        str(data),
        "--runs",
        str(home / "runs"),
    ]
    if process_count > 1:
        arguments = [*TORCHRUN_ARGUMENTS, "--nproc-per-node", str(process_count), *arguments]
    # The environment in which ftlab itself starts trainings: torchrun's processes must find this ftlab too.
    result, seconds = run_python(arguments, **build_environment(FTLAB_HOME=str(home)))
    assert result["reason"] == "finished"
    peak_megabytes = tuple(_read_json(peak_path)["megabytes"] for peak_path in sorted(peaks_folder.iterdir()))
    assert len(peak_megabytes) == process_count, "a rank is missing"
    notes = [
        event
        for event in Run(Path(result["path"])).read_events()[0]
        if isinstance(event, LogMessage) and event.code == "features"
    ]
    return TrainingCost(seconds, sum(float(str(note.values["seconds"])) for note in notes), peak_megabytes)


def _report_scans(scans: ScanCosts) -> None:
    """Print the rows about scanning."""
    max_count = max(scans)
    details = "; ".join(
        f"{count:,}: {scan.list_seconds:.2f} s, {scan.verify_seconds:.1f} s and {scan.rescan_seconds:.1f} s, "
        f"{scan.megabytes:.0f} MB"
        for count, scan in scans.items()
    )
    report_at_most(f"Listing of {max_count:,} files", scans[max_count].list_seconds, 2, "s", details)
    report_at_most(
        f"Verification of {max_count:,} files, first time", scans[max_count].verify_seconds, 90, "s", details
    )
    report_at_most(
        f"Verification of {max_count:,} files that were verified before",
        scans[max_count].rescan_seconds,
        None,
        "s",
        details,
    )


def _report_trainings(trainings: TrainingCosts) -> None:
    """Print the rows about training."""
    base_processes, *other_processes = trainings
    min_count, max_count = min(trainings[base_processes]), max(trainings[base_processes])
    for process_count, costs in trainings.items():
        extra_gigabytes = (costs[max_count].megabytes - costs[min_count].megabytes) / 1000
        name = f"Additional peak memory of a training on {max_count:,} images, compared with {min_count:,}"
        if process_count == 1:
            report_at_most(name, extra_gigabytes, 1.5, "GB", _summarize_costs(costs))
        else:
            report_at_most(
                f"{name}, {process_count} processes together", extra_gigabytes, None, "GB", _summarize_costs(costs)
            )
    for process_count in other_processes:
        base_cost, cost = trainings[base_processes][max_count], trainings[process_count][max_count]
        name = (
            f"Training on {max_count:,} images with {process_count} processes: "
            f"speed relative to {base_processes} process"
        )
        report_at_least(
            name,
            base_cost.seconds / cost.seconds,
            None,
            "×",
            f"{base_cost.summary}; {cost.summary}; {count_cpu_cores()} cores",
        )


def _summarize_costs(costs: dict[int, TrainingCost]) -> str:
    """Return one line about the trainings, by number of images."""
    return "; ".join(f"{count:,}: {cost.summary}" for count, cost in costs.items())


def _read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


if __name__ == "__main__":
    main()
