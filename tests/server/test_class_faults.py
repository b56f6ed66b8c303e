"""A class as a whole, on a server of its own: killed, with failing networks, and with much to do.

`python tests/support/class_torture.py` does the same with more people, for longer, and with real browsers.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.class_load import ask_beside_queue, press_start_often, visit_often
from tests.support.faulty_clients import FaultReport, FaultyClients
from tests.support.killed_server import kill_server
from tests.support.live_class import LiveClass

pytestmark = [pytest.mark.skipif(os.name == "nt", reason="signals are a thing of POSIX"), pytest.mark.timeout(1200)]
MOST_GROWN_BYTES = 100_000_000
"""Far more than an answer takes, and less than answers of a minute that nobody fetches."""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveClass]:
    live = LiveClass(tmp_path_factory.mktemp("class"))
    yield live
    assert live.close() == []


@pytest.fixture(scope="module")
def model(live: LiveClass) -> str:
    """A model that everybody may ask."""
    return live.train_model()


@pytest.fixture(scope="module")
def clients(live: LiveClass, model: str) -> FaultyClients:
    return FaultyClients(live, model, others=2)


@pytest.fixture(scope="module")
def students(live: LiveClass) -> list[httpx.Client]:
    return [live.enroll(f"Student {number}") for number in range(3)]


def check_others(report: FaultReport) -> None:
    assert report.faults == []
    assert report.delays, "the others went on asking"
    assert report.grown_bytes < MOST_GROWN_BYTES


def test_a_killed_server_loses_doubles_and_leaves_nothing(tmp_path: Path) -> None:
    report = kill_server(tmp_path, kills=1, trainings=2, dice=random.Random(0))
    assert report.faults == []
    assert report.kills >= 1


def test_a_page_that_is_closed_in_the_middle_of_an_answer_disturbs_nobody(clients: FaultyClients) -> None:
    report = clients.close_in_mid_answer(3)
    check_others(report)
    assert report.times == 3


def test_a_network_that_is_gone_for_a_while_disturbs_nobody_and_its_client_gets_the_answer(
    clients: FaultyClients,
) -> None:
    report = clients.lose_network(2.0)
    check_others(report)
    assert len(report.delays) > len(clients.others), "meanwhile"


def test_two_tabs_of_one_person_get_their_own_answers(clients: FaultyClients) -> None:
    check_others(clients.use_two_tabs(3))


def test_a_slow_reader_disturbs_nobody_and_keeps_its_stream(clients: FaultyClients) -> None:
    report = clients.read_slowly(readers=4, seconds=2.0)
    check_others(report)
    assert report.times == 4


def test_visits_leave_no_files_behind(live: LiveClass, students: list[httpx.Client], model: str) -> None:
    report = visit_often(live, students, 10, model, sorted(live.pictures.rglob("*.jpg")))
    assert report.faults == []
    assert report.temporary_files == []
    assert report.grown_bytes < MOST_GROWN_BYTES


def test_everybody_gets_the_answer_to_their_own_image_while_a_training_runs_and_others_wait(
    live: LiveClass, students: list[httpx.Client], model: str
) -> None:
    report = ask_beside_queue(live, students, 2, model, sorted(live.pictures.rglob("*.jpg")))
    assert report.faults == []
    assert len(report.delays) == 2 * len(students)
    assert report.waiting == len(students)


def test_whoever_presses_start_often_lets_another_one_in_after_one_turn(live: LiveClass) -> None:
    turn = press_start_often(live, 23)
    assert turn.accepted == 21, "one at work and twenty that wait"
    assert len(turn.refusals) == 2
    assert all("20 of your trainings are waiting already" in refusal for refusal in turn.refusals)
    assert turn.turns_before <= 1
