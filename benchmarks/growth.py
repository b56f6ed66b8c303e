"""How time and memory grow with the pictures of a folder and with processes: of a look through it, and of a training.

    python -m benchmarks.growth FOLDER --counts 1000 10000 100000 --processes 1 2 --draw assets/growth.svg

Files of about 300 × 200 pixels in 100 classes, which share the bytes of 1,000 that are cut from FOLDER's photographs. A
process of its own for each number lists them, and tries every one; others train on them (default backbone, frozen, 64
pixels, so that a look takes little time; its features are as long as ever), alone and as torchrun starts several, which
share the processor's cores among them. Memory is the peak of each process, and their sum without torchrun's own; what
they share, such as the libraries' code, counts in each. About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import photographs, table
from benchmarks.process import run_python
from benchmarks.row import report_at_least, report_at_most
from ftlab.core.machine import count_cpu_cores
from ftlab.runs.directory import Run
from ftlab.runs.events import LogMessage
from ftlab.runs.jobs.launch import build_environment

_SCAN_SCRIPT = """
import json, sys, time
from benchmarks.peak import measure_peak_megabytes
from ftlab.data.dataset import catalog
began = time.monotonic()
found = catalog.scan(sys.argv[1], check=False)
listed = time.monotonic() - began
began = time.monotonic()
found = catalog.scan(sys.argv[1])
checked = time.monotonic() - began
time.sleep(3)  # what was changed just now is not trusted
catalog.scan(sys.argv[1])
began = time.monotonic()
again = catalog.scan(sys.argv[1])
known = time.monotonic() - began
assert again == found
count = sum(map(len, found.splits.values()))
print(json.dumps({"listed": listed, "checked": checked, "known": known, "megabytes": measure_peak_megabytes(), "count": count}))
"""
_TRAIN_ARGUMENTS = (
    *("train", "--side", "64", "--resize", "64", "--epochs", "2", "--json"),
    *("--val-share", "0.1", "--test-share", "0"),
)
_TORCHRUN_ARGUMENTS = (
    *("-m", "torch.distributed.run", "--local-addr", "127.0.0.1"),
    *("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"),  # a free port
)


@dataclass(frozen=True)
class ScanCost:
    """Seconds in which a folder's files are listed, tried, and looked through once more; the peak of memory in 10⁶
    bytes."""

    listed: float
    checked: float
    known: float
    megabytes: float


@dataclass(frozen=True)
class TrainingCost:
    """Seconds of the whole command, those of them that features took, and each process's peak in 10⁶ bytes."""

    seconds: float
    features: float
    peaks: tuple[float, ...]

    @property
    def megabytes(self) -> float:
        return sum(self.peaks)

    @property
    def summary(self) -> str:
        peaks_text = f" ({' + '.join(f'{peak:.0f}' for peak in self.peaks)})" if len(self.peaks) > 1 else ""
        return f"{self.seconds:.0f} s, {self.megabytes:.0f} MB{peaks_text}"


ScanCosts = dict[int, ScanCost]
"""By count of pictures."""
TrainingCosts = dict[int, dict[int, TrainingCost]]
"""By processes, then count of pictures."""


def main() -> None:
    """Measure, print, and draw."""
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
                print(
                    f"{image_count:,} pictures, {process_count} at work: {trainings[process_count][image_count].summary}",
                    flush=True,
                )
    _report_scans(scans)
    _report_trainings(trainings)
    if options.draw:
        from benchmarks.drawing import draw_growth

        draw_growth(scans, trainings, options.draw, machine_info)


def _measure_scan(data: Path, home: Path, image_count: int) -> ScanCost:
    result, _ = run_python(["-c", _SCAN_SCRIPT, str(data)], FTLAB_HOME=str(home))
    assert result.pop("count") == image_count
    return ScanCost(**result)


def _measure_training(data: Path, home: Path, process_count: int) -> TrainingCost:
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
        arguments = [*_TORCHRUN_ARGUMENTS, "--nproc-per-node", str(process_count), *arguments]
    result, seconds = run_python(arguments, **build_environment(FTLAB_HOME=str(home)))
    assert result["reason"] == "finished"
    peak_megabytes = tuple(_read_json(peak_path)["megabytes"] for peak_path in sorted(peaks_folder.iterdir()))
    assert len(peak_megabytes) == process_count, "as many took part as were asked for"
    notes = [
        event
        for event in Run(Path(result["path"])).read_events()[0]
        if isinstance(event, LogMessage) and event.code == "features"
    ]
    return TrainingCost(seconds, sum(float(str(note.values["seconds"])) for note in notes), peak_megabytes)


def _report_scans(scans: ScanCosts) -> None:
    max_count = max(scans)
    details = "; ".join(
        f"{count:,}: {scan.listed:.2f} s, {scan.checked:.1f} s and {scan.known:.1f} s, {scan.megabytes:.0f} MB"
        for count, scan in scans.items()
    )
    report_at_most(f"{max_count:,} files listed", scans[max_count].listed, 2, "s", details)
    report_at_most(f"{max_count:,} files tried", scans[max_count].checked, 90, "s", details)
    report_at_most(
        f"{max_count:,} files tried before, looked through again", scans[max_count].known, None, "s", details
    )


def _report_trainings(trainings: TrainingCosts) -> None:
    base_processes, *other_processes = trainings
    min_count, max_count = min(trainings[base_processes]), max(trainings[base_processes])
    for process_count, costs in trainings.items():
        extra_gigabytes = (costs[max_count].megabytes - costs[min_count].megabytes) / 1000
        name = f"Peak memory of a training on {max_count:,} pictures above one on {min_count:,}"
        if process_count == 1:
            report_at_most(name, extra_gigabytes, 1.5, "GB", _summarize_costs(costs))
        else:
            report_at_most(
                f"{name}, {process_count} processes together", extra_gigabytes, None, "GB", _summarize_costs(costs)
            )
    for process_count in other_processes:
        base_cost, cost = trainings[base_processes][max_count], trainings[process_count][max_count]
        name = f"A training on {max_count:,} pictures, times as fast with {process_count} processes as with {base_processes}"
        report_at_least(
            name,
            base_cost.seconds / cost.seconds,
            None,
            "×",
            f"{base_cost.summary}; {cost.summary}; {count_cpu_cores()} cores",
        )


def _summarize_costs(costs: dict[int, TrainingCost]) -> str:
    return "; ".join(f"{count:,}: {cost.summary}" for count, cost in costs.items())


def _read_json(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


if __name__ == "__main__":
    main()
