"""Memory of the ranks of a training, sampled while they run: resident, and with shared pages counted once (PSS).

`benchmarks.scale --only ranks` prints the rows. On Linux.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

from benchmarks.growth import TORCHRUN_ARGUMENTS
from benchmarks.process import PROJECT_ROOT, run_python
from benchmarks.row import report_at_most
from ftlab.runs.jobs.launch import build_environment

MAX_GROWTH_RATIO, MAX_TIME_RATIO = 1.3, 1.05
_SAMPLE_SECONDS = 0.5
_IDLE_SCRIPT = """
import sys
import timm, ftlab.training.loop
print("ready", flush=True)
sys.stdin.read()
"""
"""A rank that has imported what a training does, and computes nothing."""


@dataclass(frozen=True)
class MemorySample:
    """Memory of some processes together, in 10⁶ bytes.

    Attributes:
        pss: proportional set size: a page that n processes share counts as 1/n in each.
        rss: resident set size: such a page counts fully in each.
    """

    pss: float = 0.0
    rss: float = 0.0


def read_memory(processes: Sequence[psutil.Process]) -> MemorySample:
    """Return the memory of processes together; those that have ended have none."""
    pss = rss = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
            kilobytes = {name.rstrip(":"): int(value) for name, value, *_ in map(str.split, lines)}
            pss, rss = pss + kilobytes["Pss"], rss + kilobytes["Rss"]
    return MemorySample(pss * 1024 / 1e6, rss * 1024 / 1e6)


class RankSampler:
    """Samples the ranks of a training while it runs, in a thread.

    Attributes:
        peak: largest PSS and largest RSS of all ranks together.
        rank_count: largest number of ranks seen at once.
    """

    def __init__(self) -> None:
        """Sample nothing yet."""
        self.peak, self.rank_count = MemorySample(), 0
        self._is_done = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="sampler")

    def __enter__(self) -> RankSampler:
        """Begin to sample.

        Returns:
            The sampler.
        """
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop sampling."""
        self._is_done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._is_done.wait(_SAMPLE_SECONDS):
            ranks = _find_ranks()
            sample = read_memory(ranks)
            self.rank_count = max(self.rank_count, len(ranks))
            self.peak = MemorySample(max(self.peak.pss, sample.pss), max(self.peak.rss, sample.rss))


def _find_ranks() -> list[psutil.Process]:
    """Return the processes below this one that train: neither torchrun itself nor those that decode for a rank."""
    ranks = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            arguments = process.cmdline()
            if "train" in arguments and "torch.distributed.run" not in arguments:
                ranks.append(process)
    return ranks


def measure_idle_memory(rank_count: int) -> MemorySample:
    """Return the memory of ranks that have imported torch and ftlab's loop, and wait."""
    command = [sys.executable, "-c", _IDLE_SCRIPT]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": PROJECT_ROOT}
    processes = [subprocess.Popen(command, **pipes, env=build_environment()) for _ in range(rank_count)]  # type: ignore[call-overload]
    try:
        for process in processes:
            assert process.stdout.readline() == b"ready\n"
        return read_memory([psutil.Process(process.pid) for process in processes])
    finally:
        for process in processes:
            process.communicate()


def measure_training(arguments: Sequence[str], rank_count: int) -> tuple[MemorySample, float]:
    """Train with some ranks, with an ftlab home of their own.

    Args:
        arguments: of ftlab, beginning with `train`, without `--runs`.
        rank_count: one process without torchrun, or several by it.

    Returns:
        Largest memory of the ranks together, and seconds of the whole training.
    """
    with RankSampler() as sampler:
        seconds = run_training(arguments, rank_count)
    assert sampler.rank_count == rank_count, "a rank is missing, or was not recognized"
    return sampler.peak, seconds


def run_training(arguments: Sequence[str], rank_count: int) -> float:
    """Train with some ranks, with an ftlab home of their own.

    Args:
        arguments: of ftlab, beginning with `train`, without `--runs`.
        rank_count: one process without torchrun, or several by it.

    Returns:
        Seconds of the whole training.
    """
    launcher = [*TORCHRUN_ARGUMENTS, "--nproc-per-node", str(rank_count)] if rank_count > 1 else []
    with tempfile.TemporaryDirectory() as scratch:
        result, seconds = run_python(
            [*launcher, "-m", "ftlab", *arguments, "--runs", f"{scratch}/runs"],
            **build_environment(FTLAB_HOME=f"{scratch}/home"),
        )
    assert result["reason"] == "finished"
    return seconds


def compare_ranks(arguments: Sequence[str], image_count: int, rank_count: int = 2) -> None:
    """Train with one process and with several, and print the rows.

    Args:
        arguments: of ftlab, beginning with `train`, without `--runs`.
        image_count: images of the data set, for the names of the rows.
        rank_count: number of ranks.
    """
    growths, seconds_by_count, details = {}, {}, []
    for count in (1, rank_count):
        idle = measure_idle_memory(count)
        peak, seconds_by_count[count] = measure_training(arguments, count)
        growths[count] = MemorySample(peak.pss - idle.pss, peak.rss - idle.rss)
        details.append(
            f"{count}: PSS {peak.pss:.0f} MB ({idle.pss:.0f} idle), RSS {peak.rss:.0f} MB ({idle.rss:.0f} idle), "
            f"{seconds_by_count[count]:.0f} s"
        )
    name = f"{rank_count} ranks with a frozen backbone on {image_count:,} images"
    report_at_most(
        f"{name}: growth of memory (PSS, over idle ranks), of one process's",
        growths[rank_count].pss / growths[1].pss,
        MAX_GROWTH_RATIO,
        "×",
        "; ".join(details),
    )
    report_at_most(
        f"{name}: growth of resident memory, shared pages counted in each, of one process's",
        growths[rank_count].rss / growths[1].rss,
        None,
        "×",
        "; ".join(details),
    )
    report_at_most(
        f"{name}: time, of one process's",
        seconds_by_count[rank_count] / seconds_by_count[1],
        MAX_TIME_RATIO,
        "×",
        "; ".join(details),
    )
