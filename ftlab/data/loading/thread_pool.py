"""Threads that each compute with one of torch's threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def open_worker_pool(num_workers: int, thread_name_prefix: str) -> Iterator[ThreadPoolExecutor]:
    """A pool of `num_workers` threads whose computations are not shared among more: a team for each would take the cores
    from the others. What is not begun when it ends is left out.

    The calling thread keeps its number; threads that are made meanwhile, by whomever, begin with one too.
    """
    torch_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(torch_threads)
