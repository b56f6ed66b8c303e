"""A thread pool whose threads run torch operations single-threaded."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def open_worker_pool(num_workers: int, thread_name_prefix: str) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads with intra-op parallelism off: a team of threads in each would compete for the cores.

    At the end, pending tasks are cancelled. The calling thread keeps its number of torch threads; a thread that anybody
    creates meanwhile starts with one too.

    Args:
        num_workers: threads of the pool.
        thread_name_prefix: prefix of the threads' names.
    """
    torch_threads = torch.get_num_threads()
    # The setting is per thread, so that each worker must make it itself.
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        # A worker's `set_num_threads` also sets the default for threads to come: set that back too.
        torch.set_num_threads(torch_threads)
