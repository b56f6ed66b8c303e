"""Wrong codes: a few are mistakes, many are an attack. New members: a class comes at once, a flood does not."""

from __future__ import annotations

import time

import pytest

from ftlab.server.people.join_limits import (
    MAX_KNOWN_ADDRESSES,
    MAX_NEW_MEMBERS,
    MAX_WRONG_CODES,
    SECONDS_PER_CODE,
    JoinLimits,
)
from ftlab.server.people.membership import MAX_MEMBERS


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_an_address_has_so_many_wrong_codes_and_more_with_time(clock: list[float]) -> None:
    codes = JoinLimits().wrong_codes
    for _ in range(MAX_WRONG_CODES):
        assert codes.has_spare("192.0.2.1")
        codes.spend("192.0.2.1")
    assert not codes.has_spare("192.0.2.1")
    assert codes.has_spare("192.0.2.2"), "another address is not to blame"
    clock[0] += SECONDS_PER_CODE + 0.1
    assert codes.has_spare("192.0.2.1")
    codes.spend("192.0.2.1")
    assert not codes.has_spare("192.0.2.1")


def test_many_addresses_together_are_bounded_too(clock: list[float]) -> None:
    codes = JoinLimits().wrong_codes
    tries = 0
    while codes.has_spare(f"198.51.100.{tries}") and tries < 100 * MAX_WRONG_CODES:
        codes.spend(f"198.51.100.{tries}")
        tries += 1
    assert tries == 10 * MAX_WRONG_CODES
    clock[0] += SECONDS_PER_CODE
    assert codes.has_spare("192.0.2.1")


def test_a_right_code_costs_nothing_and_memory_is_bounded(clock: list[float]) -> None:
    codes = JoinLimits().wrong_codes
    assert all(codes.has_spare("192.0.2.1") for _ in range(1000))
    for number in range(MAX_KNOWN_ADDRESSES + 50):
        clock[0] += 60
        codes.spend(str(number))
    assert len(codes._spare_units) <= MAX_KNOWN_ADDRESSES


def test_a_class_behind_one_address_joins_at_once_and_a_flood_takes_hours(clock: list[float]) -> None:
    members, started = JoinLimits().new_members, clock[0]
    count = 0
    while count < MAX_MEMBERS:
        if members.has_spare("192.0.2.1"):
            members.spend("192.0.2.1")
            count += 1
            if count == MAX_NEW_MEMBERS:
                assert clock[0] == started
        else:
            clock[0] += 1.0
    assert MAX_NEW_MEMBERS >= 2 * 30 - 1
    assert clock[0] - started > 2 * 3600
