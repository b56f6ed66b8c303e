"""Threads for the answers that a page waits for: how many at a time, and how many of one visitor may wait."""

from __future__ import annotations

import asyncio
import inspect
import threading

import gradio as gr
import pytest

from ftlab.ui.predict import answer_threads
from ftlab.ui.predict.answer_threads import MAX_PARALLEL_ANSWERS, MAX_WAITING_ANSWERS, AnswerThreads


class Handler:
    """Answers once it is let go."""

    def __init__(self) -> None:
        self.may_answer, self.running, self.most_running = threading.Event(), 0, 0
        self._lock = threading.Lock()

    def answer(self, question: str, _event: gr.EventData | None = None) -> str:
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        assert self.may_answer.wait(30)
        with self._lock:
            self.running -= 1
        return f"answer to {question}"


def ask(visitors: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Handler]:
    """Ask one question after the other for each visitor, all at the same time."""
    handler = Handler()

    async def ask_all() -> list[str]:
        answer = AnswerThreads().run_aside(handler.answer, lambda text: f"refused: {text}")
        tasks = []
        for number, visitor in enumerate(visitors):
            monkeypatch.setattr(answer_threads, "get_sender", lambda name=visitor: (name, "192.0.2.1"))
            tasks.append(asyncio.create_task(answer(f"{visitor}{number}")))
            await asyncio.sleep(0)
        while handler.running < min(len(set(visitors)), MAX_PARALLEL_ANSWERS):
            await asyncio.sleep(0.001)
        handler.may_answer.set()
        first_answers = await asyncio.gather(*tasks)
        return [*first_answers, await answer("once more")]

    return asyncio.run(ask_all()), handler


def test_all_are_answered_and_only_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    visitors = [f"visitor {number} " for number in range(MAX_PARALLEL_ANSWERS + 1)] * 2
    answers, handler = ask(visitors, monkeypatch)
    assert answers[:-1] == [f"answer to {name}{number}" for number, name in enumerate(visitors)]
    assert handler.most_running == MAX_PARALLEL_ANSWERS


def test_one_visitor_may_wait_for_some_only_and_then_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, _ = ask([*["ann"] * (MAX_WAITING_ANSWERS + 2), "ben"], monkeypatch)
    refused = [answer.startswith("refused: Too many of your requests") for answer in answers]
    assert refused == [*[False] * MAX_WAITING_ANSWERS, True, True, False, False]


def test_one_address_may_wait_for_some_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_threads, "MAX_WAITING_ANSWERS_OF_ADDRESS", 3)
    answers, _ = ask(["ann", "ben", "cleo", "dora"], monkeypatch)
    assert answers[3].startswith("refused: Too many requests from your network")
    assert answers[4] == "answer to once more"


def test_one_visitor_never_holds_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = Handler()

    async def ask_as(visitor: str) -> list[str]:
        answer = AnswerThreads().run_aside(handler.answer, str)
        monkeypatch.setattr(answer_threads, "get_sender", lambda: (visitor, "192.0.2.1"))
        tasks = [asyncio.create_task(answer(str(number))) for number in range(MAX_PARALLEL_ANSWERS + 1)]
        while handler.running < 1:
            await asyncio.sleep(0.001)
        handler.may_answer.set()
        return list(await asyncio.gather(*tasks))

    assert asyncio.run(ask_as("ann")) == [f"answer to {number}" for number in range(MAX_PARALLEL_ANSWERS + 1)]
    assert handler.most_running == 1


def test_a_question_that_is_given_up_while_it_waits_is_neither_computed_nor_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler, questions = Handler(), [str(number) for number in range(MAX_WAITING_ANSWERS)]
    monkeypatch.setattr(answer_threads, "get_sender", lambda: ("ann", "192.0.2.1"))

    async def ask_and_give_up() -> list[str]:
        answer = AnswerThreads().run_aside(handler.answer, lambda text: f"refused: {text}")
        first_task, *other_tasks = [asyncio.create_task(answer(question)) for question in questions]
        while not handler.running:
            await asyncio.sleep(0.001)
        for task in other_tasks:
            task.cancel()
        await asyncio.gather(*other_tasks, return_exceptions=True)
        later_tasks = [asyncio.create_task(answer(f"later {question}")) for question in questions]
        await asyncio.sleep(0)
        handler.may_answer.set()
        return list(await asyncio.gather(first_task, *later_tasks))

    *answers, refusal = asyncio.run(ask_and_give_up())
    assert answers == ["answer to 0", *(f"answer to later {question}" for question in questions[:-1])]
    assert refusal.startswith("refused: ")


def test_gradio_sees_the_parameters_of_the_handler() -> None:
    handler = Handler()
    aside = AnswerThreads().run_aside(handler.answer, str)
    assert inspect.iscoroutinefunction(aside)
    assert inspect.signature(aside) == inspect.signature(handler.answer)


@pytest.mark.parametrize("is_training", [True, False])
def test_whoever_asks_without_end_leaves_half_of_the_processor_to_a_training(
    monkeypatch: pytest.MonkeyPatch, *, is_training: bool
) -> None:
    """The answer itself is there at once; the place that it took stays empty for a while."""
    monkeypatch.setattr(answer_threads, "MAX_PARALLEL_ANSWERS", 1)
    monkeypatch.setattr(answer_threads, "PAUSE_SHARE", 1e9)
    monkeypatch.setattr(answer_threads, "MAX_PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr(answer_threads, "get_sender", lambda: ("ann", "192.0.2.1"))

    async def ask_twice() -> bool:
        answer = AnswerThreads(lambda: is_training).run_aside(lambda: "an answer", str)
        assert await asyncio.wait_for(answer(), 30) == "an answer"
        second = asyncio.create_task(answer())
        finished, waiting = await asyncio.wait([second], timeout=0.3 if is_training else 30)
        for task in waiting:
            task.cancel()
        return bool(finished)

    assert asyncio.run(ask_twice()) is not is_training
