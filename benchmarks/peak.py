"""ftlab's command line, each process of which leaves behind the most memory that it held.

    python -m benchmarks.peak TO train --data FOLDER
    torchrun --nproc-per-node 2 -m benchmarks.peak TO train --data FOLDER

TO is a folder; a process writes `<pid>.json` into it at its end.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import psutil


def measure_peak_megabytes() -> float:
    """The most memory that this process has held so far, with what it shares with others; in 10⁶ bytes."""
    if sys.platform == "linux":  # `getrusage` begins with what the process held that started this one
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024 * int(status.partition("VmHWM:")[2].split()[0]) / 1e6
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak if sys.platform == "darwin" else 1024 * peak) / 1e6  # in bytes there, in kilobytes elsewhere


def main() -> int:
    """Do what the words say, and write the peak."""
    from ftlab.cli import main as cli_main

    output_folder, *arguments = sys.argv[1:]
    status = cli_main.main(arguments)
    Path(output_folder, f"{os.getpid()}.json").write_text(
        json.dumps({"megabytes": measure_peak_megabytes()}), encoding="utf-8"
    )
    return status


if __name__ == "__main__":
    sys.exit(main())
