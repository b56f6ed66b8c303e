"""How time and memory grow with the pictures of a folder: of a look through it, and of a whole training.

    python -m benchmarks.growth FOLDER --counts 1000 10000 100000

Files of about 300 × 200 pixels in 100 classes, which share the bytes of 1,000 that are cut from FOLDER's photographs. A
process of its own for each number lists them, and tries every one; another one trains on them (default backbone,
frozen, 64 pixels, so that a look takes little time; its features are as long as ever). Memory is the peak of each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import photographs
from benchmarks.row import at_most

_LOOK = """
import json, resource, sys, time
from ftlab.data import catalog
began = time.monotonic()
found = catalog.scan(sys.argv[1], check=False)
listed = time.monotonic() - began
began = time.monotonic()
found = catalog.scan(sys.argv[1])
checked = time.monotonic() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(map(len, found.splits.values()))
print(json.dumps({"listed": listed, "checked": checked, "megabytes": peak / 1000, "count": count}))
"""

_TRAIN = """
import json, resource, sys, time
from ftlab import cli
words = "train --side 64 --resize 64 --epochs 2 --val-share 0.1 --test-share 0 --data".split()
began = time.monotonic()
status = cli.main([*words, sys.argv[1], "--runs", sys.argv[2]])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"status": status, "seconds": time.monotonic() - began, "megabytes": peak / 1000}))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000, 100_000])
    options = parser.parse_args()
    looks, trainings = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        some = photographs.cut(options.folder, Path(scratch, "some"), count=1000, classes=10, size=(300, 200))
        for count in options.counts:
            data = photographs.linked(some, Path(scratch, str(count)), count=count, classes=100)
            looks[count] = _told(_LOOK, [str(data)], Path(scratch, f"home{count}"))
            assert looks[count]["count"] == count
            trainings[count] = _told(_TRAIN, [str(data), f"{scratch}/runs"], Path(scratch, f"home{count}"))
            assert trainings[count]["status"] == 0
    few, many = min(options.counts), max(options.counts)
    seen = "; ".join(
        f"{count:,}: {one['listed']:.2f} s and {one['checked']:.1f} s, {one['megabytes']:.0f} MB"
        for count, one in looks.items()
    )
    at_most(f"{many:,} files listed", looks[many]["listed"], 2, "s", seen)
    at_most(f"{many:,} files tried", looks[many]["checked"], 90, "s", seen)
    more = (trainings[many]["megabytes"] - trainings[few]["megabytes"]) / 1000
    seen = "; ".join(
        f"{count:,}: {one['seconds']:.0f} s, {one['megabytes']:.0f} MB" for count, one in trainings.items()
    )
    at_most(f"Peak memory of a training on {many:,} pictures above one on {few:,}", more, 1.5, "GB", seen)


def _told(program: str, words: list[str], home: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env={**os.environ, "FTLAB_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


if __name__ == "__main__":
    main()
