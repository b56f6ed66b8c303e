"""Whose sessions and events are: of whoever used a name first, in bounded memory."""

from __future__ import annotations

from typing import Any

import pytest

from ftlab.server.people.session_owners import (
    MAX_EVENT_ANSWER_BYTES,
    SessionOwners,
    list_address_names,
    list_body_names,
    parse_event_name,
)


def test_a_name_is_whose_who_used_it_first() -> None:
    owners = SessionOwners()
    assert owners.claim(["s"], "ann")
    assert owners.claim(["s", "t"], "ann")
    assert not owners.claim(["s"], "ben")
    assert not owners.claim(["u", "t"], "ben")
    assert owners.claim(["u"], "cy"), "a refused request gets no name"
    assert owners.claim([], "ben")


def test_odd_names_are_names_too() -> None:
    owners = SessionOwners()
    for name in ("", "\ud800", "\0", "x" * 1_000_000):
        assert owners.claim([name], "ann")
        assert not owners.claim([name], "ben")


def test_memory_is_bounded_and_nobody_makes_the_server_forget_what_is_anothers() -> None:
    owners = SessionOwners(capacity=100, capacity_of_visitor=10)
    owners.claim(["page"], "ann")
    for number in range(1000):
        assert owners.claim([f"{number}"], "ben")
    assert not owners.claim(["page"], "ben")
    assert owners.claim(["0"], "ann"), "the oldest of ben's are forgotten"
    assert not owners.claim(["999"], "ann")
    for number in range(1000):
        owners.claim([f"many {number}"], f"visitor {number}")
    assert len(owners._owners) == len({name for names in owners._names.values() for name in names}) == 100


def test_who_gets_a_new_identity_keeps_the_pages_that_are_open() -> None:
    owners = SessionOwners(capacity=3)
    assert owners.claim(["a", "b"], "ann")
    owners.hand_over("ann", "ann again")
    owners.hand_over("nobody", "ben")
    assert owners.claim(["a"], "ann again")
    assert not owners.claim(["b"], "ann")
    assert owners.claim(["c", "d"], "ben"), "the oldest name is forgotten, whoever has it now"


def test_a_name_in_use_is_remembered_longest() -> None:
    owners = SessionOwners(capacity_of_visitor=3)
    for number in range(10):
        owners.claim(["page", f"event {number}"], "ann")
    assert not owners.claim(["page"], "ben")


@pytest.mark.parametrize(
    ("path", "query", "names"),
    [
        ("/gradio_api/queue/data", b"session_hash=a", ["a"]),
        ("/gradio_api/queue/data", b"session_hash=a&session_hash=b", ["a", "b"]),
        ("/gradio_api/queue/data", b"x=1&session%5Fhash=%61", ["a"]),
        ("/gradio_api/upload_progress", b"upload_id=u", ["u"]),
        ("/gradio_api/heartbeat/a", b"", ["a"]),
        ("/gradio_api/heartbeat/a/", b"", ["a"]),
        ("/gradio_api/call/scan/e", b"", ["e"]),
        ("/gradio_api/call/scan", b"", []),
        ("/gradio_api/call/scan/", b"", []),
        ("/", b"", []),
        ("/config", b"a=b", []),
    ],
)
def test_names_in_an_address(path: str, query: bytes, names: list[str]) -> None:
    assert list_address_names(path, query) == names


def test_names_in_a_body_and_in_an_answer() -> None:
    assert list_body_names({"session_hash": "a", "event_id": "e", "data": [{"session_hash": "x"}]}) == ["a", "e"]
    payloads: list[Any] = [[], None, 3, {"session_hash": None, "event_id": 7}, {}]
    for payload in payloads:
        assert list_body_names(payload) == []
    assert parse_event_name(b'{"event_id": "e"}') == ["e"]
    for answer in (b"", b"null", b"\xff", b'{"event_id": "%s"}' % (b"e" * MAX_EVENT_ANSWER_BYTES)):
        assert parse_event_name(answer) == []
