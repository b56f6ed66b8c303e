"""Speed of this machine's float32 matrix products: `python -m benchmarks.gemm`.

A machine that is shared, throttled or emulated may run at a third of its speed for a day. This number, printed above
each table, says whether two tables were measured at the same speed.
"""

from __future__ import annotations

import time

import torch

from ftlab.core.machine import count_cpu_cores

_SIDE = 1024
"""Rows and columns of the matrices: 12 MB in all, larger than a core's own cache."""
_MEASURED_SECONDS = 0.7


def measure_gemm_gflops(thread_count: int) -> float:
    """Return the highest rate of products of two square float32 matrices, in 10⁹ operations a second.

    Args:
        thread_count: threads of torch; the previous number is restored.
    """
    previous_count = torch.get_num_threads()
    left, right = torch.ones(_SIDE, _SIDE), torch.ones(_SIDE, _SIDE)
    product = left @ right
    torch.set_num_threads(thread_count)
    try:
        fastest_seconds = float("inf")
        end = time.perf_counter() + _MEASURED_SECONDS
        # The fastest of many, as others who use the machine only ever slow a product down.
        while (start := time.perf_counter()) < end:
            torch.mm(left, right, out=product)
            fastest_seconds = min(fastest_seconds, time.perf_counter() - start)
    finally:
        torch.set_num_threads(previous_count)
    return 2 * _SIDE**3 / fastest_seconds / 1e9


def describe_gemm_peak() -> str:
    """Return the peak with one thread and with all, for the line above a table."""
    counts = sorted({1, count_cpu_cores()})
    peaks = " and ".join(
        f"{measure_gemm_gflops(count):.0f} GFLOP/s with {count} thread{'s' if count > 1 else ''}" for count in counts
    )
    return f"float32 GEMM {peaks}"


if __name__ == "__main__":
    print(describe_gemm_peak())
