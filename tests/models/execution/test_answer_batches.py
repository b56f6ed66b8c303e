"""Images that wait for an answer: in their order, several at a time, each with its own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from ftlab.models.execution.answer_batches import MAX_BATCH_IMAGES, AnswerBatcher


def picture(number: int) -> Tensor:
    return torch.full((3, 2, 2), float(number))


class Gate:
    """Answers with an image's first value and its double, once it is opened."""

    def __init__(self) -> None:
        self.opened, self.entered = threading.Event(), threading.Event()
        self.batches: list[list[float]] = []

    def __call__(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        self.batches.append(batch[:, 0, 0, 0].tolist())
        self.entered.set()
        assert self.opened.wait(10)
        if -1.0 in self.batches[-1]:
            raise ZeroDivisionError
        return batch[:, 0, 0, 0], 2 * batch


def test_what_arrives_meanwhile_is_answered_together_in_its_order() -> None:
    gate = Gate()
    batcher = AnswerBatcher(gate, 1)
    answers = [batcher.submit(picture(0))]
    assert gate.entered.wait(10), "the first waits for no other"
    answers += [batcher.submit(picture(number)) for number in range(1, 12)]
    gate.opened.set()
    for number, answer in enumerate(answers):
        value, doubled = answer.result(10)
        assert (float(value), doubled.shape) == (number, (3, 2, 2))
        assert torch.equal(doubled, 2 * picture(number))
    full = 1 + MAX_BATCH_IMAGES
    assert gate.batches == [[0.0], [float(number) for number in range(1, full)], [9.0, 10.0, 11.0]]


def test_several_batches_run_at_a_time_and_no_more_than_allowed() -> None:
    gate = Gate()
    batcher = AnswerBatcher(gate, 2)
    first = batcher.submit(picture(0))
    assert gate.entered.wait(10)
    gate.entered.clear()
    second = batcher.submit(picture(1))
    assert gate.entered.wait(10)
    gate.entered.clear()
    third = batcher.submit(picture(2))
    assert not gate.entered.wait(0.1)
    gate.opened.set()
    assert [float(answer.result(10)[0]) for answer in (first, second, third)] == [0.0, 1.0, 2.0]


def test_an_error_reaches_all_of_its_batch_and_nobody_else() -> None:
    gate = Gate()
    batcher = AnswerBatcher(gate, 1)
    first = batcher.submit(picture(0))
    assert gate.entered.wait(10)
    unlucky = [batcher.submit(picture(number)) for number in (-1, 1)]
    gate.opened.set()
    assert float(first.result(10)[0]) == 0.0
    for answer in unlucky:
        with pytest.raises(ZeroDivisionError):
            answer.result(10)
    assert float(batcher.submit(picture(5)).result(10)[0]) == 5.0


def test_thirty_threads_each_get_their_own_answers() -> None:
    gate = Gate()
    gate.opened.set()
    batcher = AnswerBatcher(gate, 2)
    with ThreadPoolExecutor(30) as pool:
        values = list(pool.map(lambda number: float(batcher.submit(picture(number)).result(10)[0]), range(300)))
    assert values == [float(number) for number in range(300)]
    assert sum(len(batch) for batch in gate.batches) == 300
