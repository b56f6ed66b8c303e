"""Cost of decoding in worker processes: `python -m benchmarks.isolation FOLDER --rounds 5`.

Verification of a folder by worker processes, as a scan does it, side by side with the same decoding by threads of one
process, as it was before; and the time of one image by a worker that has started, beside that in this process. Rounds
alternate; each is a process of its own with an empty cache. Workers start within the measured time, which the number of
photographs (links to those of FOLDER) makes a small part of it. The processor time of both is told too: it depends less
on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import photographs
from benchmarks.process import PROJECT_ROOT
from benchmarks.row import report_at_least, report_at_most

_VERIFY_PROGRAM = """
import json, os, sys, time
from concurrent.futures import ThreadPoolExecutor
from ftlab.core.errors import ImageError
from ftlab.data.images import decode
from ftlab.data.isolation import isolated
way, folder = sys.argv[1:]

def verify_in_thread(files):
    results = []
    for file in files:
        try:
            results.append(decode.verify_image(file))
        except ImageError as error:
            results.append(error)
    return results

if way == "threads":
    isolated.verify_images = verify_in_thread
from ftlab.data.dataset import scan
cpu_start = sum(os.times()[:4])
start = time.perf_counter()
catalog = scan.scan(folder, val_share=0.1, test_share=0.1)
seconds = time.perf_counter() - start
isolated.close_shared_pool()
cpu_seconds = sum(os.times()[:4]) - cpu_start  # of the workers too: they have ended
print(json.dumps([seconds, cpu_seconds, sum(len(items) for items in catalog.splits.values())]))
"""
_ONE_IMAGE_PROGRAM = """
import json, statistics, sys, time
from ftlab.data.images import decode
from ftlab.data.isolation import isolated
way, folder = sys.argv[1:]
from pathlib import Path
files = sorted(path for path in Path(folder).rglob("*") if path.suffix == ".jpg")[:100]
read = decode.read_image if way == "threads" else isolated.read_image
seconds = []
for file in [files[0], *files]:
    start = time.perf_counter()
    read(file)
    seconds.append(time.perf_counter() - start)
isolated.close_shared_pool()
print(json.dumps([statistics.median(seconds[1:]), time.process_time(), len(files)]))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--photographs", type=int, default=2400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        linked = photographs.link_photographs(
            options.folder, Path(scratch, "linked"), file_count=options.photographs, class_count=2
        )
        for name, program in (("scan", _VERIFY_PROGRAM), ("image", _ONE_IMAGE_PROGRAM)):
            _compare(name, program, linked, options.rounds)


def _compare(name: str, program: str, folder: Path, rounds: int) -> None:
    """Measure a program both ways, alternately, and print the row.

    Args:
        name: `scan` or `image`.
        program: its source.
        folder: images.
        rounds: of both ways.
    """
    seconds: dict[str, list[float]] = {"threads": [], "workers": []}
    cpu_seconds: dict[str, list[float]] = {"threads": [], "workers": []}
    count = 0
    for _ in range(rounds):
        for way in seconds:
            duration, cpu_duration, count = _run(program, way, folder)
            seconds[way].append(duration)
            cpu_seconds[way].append(cpu_duration)
    threads, workers = (statistics.median(values) for values in seconds.values())
    if name == "scan":
        cpu_threads, cpu_workers = (statistics.median(values) for values in cpu_seconds.values())
        details = (
            f"{count:,} photographs: {count / threads:,.0f}/s and {count / workers:,.0f}/s; "
            f"processor time {cpu_threads:.1f} and {cpu_workers:.1f} s; {rounds} rounds"
        )
        report_at_least(
            "Scan of a folder by isolated processes: images/s relative to threads", threads / workers, 0.9, "×", details
        )
    else:
        details = f"{1e3 * threads:.1f} ms in this process, {1e3 * workers:.1f} ms by a worker; {count} photographs"
        report_at_most(
            "Additional time to decode an image in an isolated process", 1e3 * (workers - threads), 10, "ms", details
        )


def _run(program: str, way: str, folder: Path) -> tuple[float, float, int]:
    """Return the seconds that a program took, its processor time in seconds, and the number of images.

    Args:
        program: source of the program.
        way: `threads` or `workers`.
        folder: images.
    """
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-c", program, way, str(folder.absolute())],
            cwd=PROJECT_ROOT,
            env={**os.environ, "FTLAB_HOME": home},
            stdout=subprocess.PIPE,
            check=True,
        )
    seconds, cpu_seconds, count = json.loads(done.stdout)
    return seconds, cpu_seconds, count


if __name__ == "__main__":
    main()
