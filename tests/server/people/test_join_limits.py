"""Wrong codes: a few are mistakes, many are an attack."""

from __future__ import annotations

import time

import pytest

from ftlab.server.people.join_limits import MAX_KNOWN_ADDRESSES, MAX_WRONG_CODES, SECONDS_PER_CODE, JoinLimits


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_an_address_has_so_many_wrong_codes_and_more_with_time(clock: list[float]) -> None:
    limits = JoinLimits()
    for _ in range(MAX_WRONG_CODES):
        assert limits.may_try("192.0.2.1")
        limits.count_wrong_code("192.0.2.1")
    assert not limits.may_try("192.0.2.1")
    assert limits.may_try("192.0.2.2"), "another address is not to blame"
    clock[0] += SECONDS_PER_CODE + 0.1
    assert limits.may_try("192.0.2.1")
    limits.count_wrong_code("192.0.2.1")
    assert not limits.may_try("192.0.2.1")


def test_many_addresses_together_are_bounded_too(clock: list[float]) -> None:
    limits = JoinLimits()
    tries = 0
    while limits.may_try(f"198.51.100.{tries}") and tries < 100 * MAX_WRONG_CODES:
        limits.count_wrong_code(f"198.51.100.{tries}")
        tries += 1
    assert tries == 10 * MAX_WRONG_CODES
    clock[0] += SECONDS_PER_CODE
    assert limits.may_try("192.0.2.1")


def test_a_right_code_costs_nothing_and_memory_is_bounded(clock: list[float]) -> None:
    limits = JoinLimits()
    assert all(limits.may_try("192.0.2.1") for _ in range(1000))
    for number in range(MAX_KNOWN_ADDRESSES + 50):
        clock[0] += 60
        limits.count_wrong_code(str(number))
    assert len(limits._spare_codes) <= MAX_KNOWN_ADDRESSES
