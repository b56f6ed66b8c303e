"""How time and memory of a look through a folder grow with its pictures.

    python -m benchmarks.growth FOLDER --counts 1000 10000 100000

Files of about 300 × 200 pixels in 100 classes, which share the bytes of 1,000 that are cut from FOLDER's photographs. A
process of its own for each number lists them, and tries every one; memory is its peak.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000, 100_000])
    options = parser.parse_args()
    told = {}
    with tempfile.TemporaryDirectory() as scratch:
        some = photographs.cut(options.folder, Path(scratch, "some"), count=1000, classes=10, size=(300, 200))
        for count in options.counts:
            data = photographs.linked(some, Path(scratch, str(count)), count=count, classes=100)
            done = subprocess.run(
                [sys.executable, "-c", _LOOK, str(data)], stdout=subprocess.PIPE, text=True, check=True
            )
            told[count] = json.loads(done.stdout)
            assert told[count]["count"] == count
    seen = "; ".join(
        f"{count:,}: {one['listed']:.2f} s and {one['checked']:.1f} s, {one['megabytes']:.0f} MB"
        for count, one in told.items()
    )
    last = told[max(told)]
    at_most(f"{max(told):,} files listed", last["listed"], 2, "s", seen)
    at_most(f"{max(told):,} files tried", last["checked"], 90, "s", seen)


if __name__ == "__main__":
    main()
