"""Batches of the images that wait for an answer: one call of the graph answers several of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

MAX_BATCH_IMAGES = 8
"""Images in a batch: a larger one is no faster an image, and its first image waits for the last."""

RunBatch = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Takes images, float32 [N, 3, S, S]; returns two results for each, [N, …]."""


class AnswerBatcher:
    """Answers images in the order in which they arrive, alone or together. Thread-safe.

    Whoever waits for no one is not made to wait: an image goes at once if a thread is free, and only those that arrive
    meanwhile are put together.
    """

    def __init__(self, run_batch: RunBatch, max_parallel_batches: int) -> None:
        """Start no thread yet.

        Args:
            run_batch: computes the results; called by several threads.
            max_parallel_batches: batches that are computed at a time.
        """
        self._run_batch = run_batch
        self._waiting: deque[tuple[Tensor, Future[tuple[Tensor, Tensor]]]] = deque()
        self._waiting_lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max_parallel_batches, "answers")

    def submit(self, image: Tensor) -> Future[tuple[Tensor, Tensor]]:
        """Have an image answered.

        Args:
            image: float32 [3, S, S].

        Returns:
            The future of both results, each without the dimension of the batch.
        """
        answer: Future[tuple[Tensor, Tensor]] = Future()
        with self._waiting_lock:
            self._waiting.append((image, answer))
        # One task for each image: those whose image went with an earlier batch find nothing to do.
        self._pool.submit(self._answer_waiting)
        return answer

    def _answer_waiting(self) -> None:
        with self._waiting_lock:
            batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH_IMAGES, len(self._waiting)))]
        if not batch:
            return
        try:
            results = self._run_batch(torch.stack([image for image, _ in batch]))
        except BaseException as error:
            for _, answer in batch:
                answer.set_exception(error)
            raise
        for (_, answer), *values in zip(batch, *results, strict=True):
            answer.set_result((values[0], values[1]))
