"""A training that works gives signs of life; silence is counted in time that the machine was awake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftlab.core import machine
from ftlab.runs import heartbeat
from ftlab.runs.heartbeat import Heartbeat, overwrite_json, read_last_beat


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(machine, "read_awake_clock", clock)
    return clock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "heartbeat"


def silence(file: Path) -> float:
    heard = read_last_beat(file)
    assert heard is not None
    return heard.silence_seconds


def hanging(file: Path) -> bool:
    heard = read_last_beat(file)
    assert heard is not None
    return heard.is_hanging


def test_the_clock_goes_forward_and_is_the_machines() -> None:
    before = machine.read_awake_clock()
    assert 0 <= machine.read_awake_clock() - before < 60


def test_silence_is_counted_from_the_last_beat(file: Path, clock: Clock) -> None:
    heart = Heartbeat(file)
    heart.beat()
    clock.now += 5
    assert silence(file) == 5
    heart.beat()
    assert silence(file) == 0


def test_beats_that_follow_each_other_quickly_write_nothing(
    file: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    heart = Heartbeat(file)
    written: list[str] = []
    monkeypatch.setattr(heartbeat, "overwrite_json", lambda *_: written.append("once"))
    for _ in range(1000):
        clock.now += 0.01
        heart.beat(0.01)
    assert 9 <= len(written) <= 11


@pytest.mark.parametrize(("step", "patience"), [(None, 120), (0.5, 120), (12.0, 120), (30.0, 300)])
def test_it_hangs_after_two_minutes_or_ten_of_its_steps(
    file: Path, clock: Clock, step: float | None, patience: float
) -> None:
    heart = Heartbeat(file)
    heart.beat(step)
    clock.now += patience - 1
    assert not hanging(file)
    clock.now += 2
    assert hanging(file)
    heart.beat(step)
    assert not hanging(file)


def test_the_longest_recent_step_counts(file: Path, clock: Clock) -> None:
    heart = Heartbeat(file)
    heart.beat(40.0)
    for _ in range(10):
        clock.now += 2
        heart.beat(1.0)
    clock.now += 399
    assert not hanging(file)
    for _ in range(50):
        clock.now += 2
        heart.beat(1.0)
    clock.now += 121
    assert hanging(file), "a single long step is forgotten in the end"


def test_it_tells_how_much_memory_the_process_holds(file: Path) -> None:
    Heartbeat(file).beat()
    heard = read_last_beat(file)
    assert heard is not None
    assert heard.memory_bytes > 1e6


@pytest.mark.parametrize("content", [None, "", "{", "[1]", '{"awake": "soon"}', " " * 256])
def test_a_file_that_says_nothing_is_no_pulse(file: Path, content: str | None) -> None:
    if content is not None:
        file.write_text(content)
    assert read_last_beat(file) is None


def test_a_beat_that_cannot_be_written_ends_no_training(tmp_path: Path) -> None:
    Heartbeat(tmp_path / "gone" / "heartbeat").beat()
    assert not (tmp_path / "gone").exists()


def test_what_is_overwritten_takes_no_more_room_and_leaves_nothing_of_what_stood_there(file: Path) -> None:
    assert overwrite_json(file, {"word": "long" * 20}, 128)
    before = file.stat()
    assert overwrite_json(file, {"word": "short"}, 128)
    after = file.stat()
    assert (before.st_ino, before.st_size) == (after.st_ino, after.st_size)
    assert json.loads(file.read_bytes()) == {"word": "short"}


def test_values_that_outgrow_their_room_leave_nothing_behind_for_the_next(file: Path) -> None:
    assert overwrite_json(file, {"word": "long" * 100}, 128)
    assert overwrite_json(file, {"word": "short"}, 128)
    assert json.loads(file.read_bytes()) == {"word": "short"}
