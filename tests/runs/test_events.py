"""What a training says survives its line, and the line is always JSON."""

from __future__ import annotations

import json
import math

import pytest

from ftlab.runs.events import EVENT_TYPES, Ended, Epoch, Event, LogMessage, Progress, Saved, Started, Step, parse_event

SAID: list[Event] = [
    Started(
        step=0,
        epochs=3,
        steps_per_epoch=8,
        device="cpu",
        train_images=244,
        val_images=153,
        trainable=2562,
        total=3_373_570,
    ),
    LogMessage(code="skipped", values={"file": 'é\u2028 "q"\n{x}', "count": 3, "share": 0.5}),
    Progress(stage="features", done=32, total=244, images_per_second=61.5),
    Step(step=1, epoch=1, loss=0.7, accuracy=0.5, learning_rate=1e-3, images_per_second=100.0),
    Epoch(
        epoch=0,
        step=0,
        train_loss=None,
        train_accuracy=None,
        val_loss=0.69,
        val_accuracy=0.51,
        learning_rate=None,
        images_per_second=None,
        seconds=2.5,
        best=True,
    ),
    Saved(what="best", epoch=1, step=8),
    Ended(reason="finished", epoch=3, step=24, best_epoch=2, best_val_accuracy=0.95, seconds=9.0),
]


def test_there_is_an_example_of_every_kind() -> None:
    assert {event.kind for event in SAID} == set(EVENT_TYPES)


@pytest.mark.parametrize("event", SAID, ids=lambda event: event.kind)
def test_an_event_survives_its_line(event: Event) -> None:
    line = event.to_line()
    assert "\n" not in line
    assert parse_event(line) == event
    assert json.loads(line)["event"] == event.kind
    assert json.loads(line)["time"] == event.time > 1.7e9


def test_an_epochs_line_has_the_names_that_others_rely_on() -> None:
    fixed = {"epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "images_per_second", "seconds"}
    values = json.loads(SAID[4].to_line())
    assert fixed <= set(values)
    assert values["train_loss"] is None


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_lacks_becomes_null(odd: float) -> None:
    step = Step(step=1, epoch=1, loss=odd, accuracy=0.5, learning_rate=1e-3, images_per_second=odd)
    assert parse_event(step.to_line()) == Step(
        step=1, epoch=1, loss=None, accuracy=0.5, learning_rate=1e-3, images_per_second=None, time=step.time
    )
    note = LogMessage(code="x", values={"loss": odd, "list": [odd, 1], "inner": {"rate": odd}})
    assert json.loads(note.to_line())["values"] == {"loss": None, "list": [None, 1], "inner": {"rate": None}}


def test_fields_of_a_newer_version_are_passed_over() -> None:
    values = {**json.loads(SAID[5].to_line()), "megabytes": 12}
    assert parse_event(json.dumps(values)) == SAID[5]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        '{"event": "saved", "what": "be',
        "[]",
        "3",
        "null",
        "{}",
        '{"event": "weather", "time": 1.0}',
        '{"event": ["saved"]}',
        '{"event": "saved", "time": 1.0, "what": "best"}',
    ],
)
def test_a_line_that_is_not_known_is_no_event(line: str) -> None:
    assert parse_event(line) is None
