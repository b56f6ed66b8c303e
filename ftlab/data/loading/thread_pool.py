"""A thread pool whose threads run torch operations single-threaded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_MAX_PENDING_PER_WORKER = 32
"""Items that are under way, or done and not yet consumed: enough for one that takes as long as many others."""


def map_in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], num_workers: int, thread_name_prefix: str
) -> Iterator[_Result]:
    """Apply a function to items on worker threads, with torch single-threaded in each.

    Items are taken as they are needed, so there may be any number of them. Whoever closes the iterator waits for the
    items that threads work on, and for no other.

    Args:
        function: what it raises is raised at the item's turn.
        items: to apply it to.
        num_workers: threads.
        thread_name_prefix: prefix of the threads' names.

    Yields:
        The results, in the order of the items.
    """
    with open_worker_pool(num_workers, thread_name_prefix) as pool:
        pending: deque[Future[_Result]] = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= _MAX_PENDING_PER_WORKER * num_workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


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
