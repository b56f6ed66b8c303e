"""Bounds on what one visitor may ask for at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ftlab.server.admission import Admission, AdmissionLimits, Ticket
from ftlab.server.people.person import make_stranger
from ftlab.server.people.rights import ProfileKind
from ftlab.server.visitors import Visitor

LIMITS = AdmissionLimits(
    events_per_visitor=2,
    events_without_cookie=3,
    events_per_address=5,
    requests_per_visitor=4,
    requests_without_cookie=5,
    requests_per_address=6,
    new_visitors_at_once=3,
    new_visitors_per_second=0.5,
)
ADDRESS = "192.0.2.7"
SOMEBODY = make_stranger(ProfileKind.NETWORK)
ANN, BEN, EVE = (Visitor(name, ADDRESS, has_cookie=True, person=SOMEBODY) for name in ("ann", "ben", "eve"))
ELSEWHERE = Visitor("dan", "198.51.100.1", has_cookie=True, person=SOMEBODY)
NAMELESS = Visitor(ADDRESS, ADDRESS, has_cookie=False, person=SOMEBODY)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_visitor_with_many_events_waits_and_the_others_do_not() -> None:
    admission, queued = Admission(LIMITS), [Ticket(ANN), Ticket(ANN)]
    assert admission.find_refusal(ANN, queued) == (429, "busy_visitor")
    assert admission.find_refusal(ANN) is None, "other requests go on"
    assert admission.find_refusal(BEN, queued) is None
    assert admission.find_refusal(ANN, queued[:1]) is None


def test_an_address_is_a_loose_bound() -> None:
    admission, queued = Admission(LIMITS), [Ticket(visitor) for visitor in (ANN, ANN, BEN, BEN, NAMELESS)]
    assert admission.find_refusal(EVE, queued) == (429, "busy_address")
    assert admission.find_refusal(ELSEWHERE, queued) is None


def test_those_without_a_cookie_count_together() -> None:
    assert Admission(LIMITS).find_refusal(NAMELESS, [Ticket(NAMELESS)] * 3) is None, "the same one is counted once"
    assert Admission(LIMITS).find_refusal(NAMELESS, [Ticket(NAMELESS) for _ in range(3)]) == (429, "busy_visitor")


def test_events_on_their_way_into_the_queue_count_once(stack: ExitStack) -> None:
    admission, ticket = Admission(LIMITS), Ticket(ANN)
    stack.enter_context(admission.count_request(ticket, is_event=True))
    assert admission.find_refusal(ANN, [ticket]) is None, "in the queue already, and not answered yet"
    stack.enter_context(admission.count_request(Ticket(ANN), is_event=True))
    assert admission.find_refusal(ANN, []) == (429, "busy_visitor")
    stack.close()
    assert admission.find_refusal(ANN, []) is None


def test_open_requests_are_bounded_and_forgotten_when_they_end(stack: ExitStack) -> None:
    admission = Admission(LIMITS)
    for _ in range(4):
        stack.enter_context(admission.count_request(Ticket(ANN)))
    assert admission.find_refusal(ANN) == (429, "busy_requests")
    assert admission.find_refusal(BEN) is None
    for _ in range(2):
        stack.enter_context(admission.count_request(Ticket(BEN)))
    assert admission.find_refusal(EVE) == (429, "busy_requests"), "the address has used up its share"
    assert admission.find_refusal(ELSEWHERE) is None
    stack.close()
    assert admission.find_refusal(ANN) is None


def test_new_visitors_of_an_address_come_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    admission = Admission(LIMITS)
    assert [admission.may_introduce(ADDRESS) for _ in range(5)] == [True] * 3 + [False] * 2
    assert admission.may_introduce("198.51.100.1")
    now += 2.0
    assert [admission.may_introduce(ADDRESS) for _ in range(2)] == [True, False]
