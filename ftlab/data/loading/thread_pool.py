"""Threads that each compute with one of torch's threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def of_one(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """A pool of `count` threads whose computations are not shared among more: a team for each would take the cores
    from the others. What is not begun when it ends is left out.

    The calling thread keeps its number; threads that are made meanwhile, by whomever, begin with one too.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, name, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
