"""ftlab's command line with peak memory recorded for each of its processes.

    python -m benchmarks.peak TO train --data FOLDER
    torchrun --nproc-per-node 2 -m benchmarks.peak TO train --data FOLDER

TO is a folder; each process writes `<pid>.json` into it at its end.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import psutil


def measure_peak_megabytes() -> float:
    """Return the peak resident memory of this process so far, shared memory included, in 10⁶ bytes."""
    if sys.platform == "linux":  # `getrusage` would begin with the peak of the process that forked this one
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024 * int(status.partition("VmHWM:")[2].split()[0]) / 1e6
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak if sys.platform == "darwin" else 1024 * peak) / 1e6  # bytes on macOS, kilobytes elsewhere


def main() -> int:
    """Run ftlab's command line with the remaining arguments, and write the peak.

    Returns:
        The exit status of the command.
    """
    from ftlab.cli import main as cli_main

    output_folder, *arguments = sys.argv[1:]
    status = cli_main.main(arguments)
    Path(output_folder, f"{os.getpid()}.json").write_text(
        json.dumps({"megabytes": measure_peak_megabytes()}), encoding="utf-8"
    )
    return status


if __name__ == "__main__":
    sys.exit(main())
