"""What a terminal shows: a line an epoch everywhere, and a bar where somebody looks at it."""

from __future__ import annotations

import io

import pytest

from ftlab.cli.terminal import progress
from ftlab.runs.events import Ended, Event, LogMessage, Progress, Saved
from tests.support import fabricated_runs

FEATURES = Progress(stage="features", done=30, total=120, images_per_second=60.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def story() -> list[Event]:
    return [
        fabricated_runs.started(),
        FEATURES,
        LogMessage(code="skipped", values={"file": "ants/a.jpg", "problem": "The file is empty."}),
        *fabricated_runs.story()[1:],
        Saved(what="best", epoch=2, step=20),
        fabricated_runs.ended(),
    ]


def test_a_file_gets_a_line_for_each_thing_to_know() -> None:
    stream = io.StringIO()
    assert progress.show_events(iter(story()), stream) == fabricated_runs.ended()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + 1 + 5 + 1
    assert lines[0].startswith(
        "Training on 320 pictures, validating on 80; 7,686 of 3,378,694 parameters are trainable"
    )
    assert lines[1] == "ants/a.jpg was skipped: The file is empty."
    assert [line.split()[:2] for line in lines[2:7]] == [["Epoch", str(number)] for number in range(5)]
    assert [line.endswith("best") for line in lines[2:7]] == [True, True, True, False, False]
    assert "–" in lines[2]
    assert "93.8" in lines[4]
    assert lines[-1].startswith("Finished: the best model is from epoch 2, validation 93.8")
    assert "\r" not in stream.getvalue()


def test_a_terminal_also_gets_a_bar_that_moves() -> None:
    stream = Terminal()
    progress.show_events(iter(story()), stream)
    told = stream.getvalue()
    assert "Features" in told
    assert "30/120" in told
    assert "Training" in told
    assert "/40" in told
    assert "\rFinished" in told
    assert told.split("\r")[-1].strip() == "", "at the end the bar is wiped away"


def test_a_download_is_told_in_bytes_with_their_units() -> None:
    stream = Terminal()
    note = LogMessage(code="download", values={"title": "ResNet-18", "megabytes": 47})
    progress.show_events(iter([Progress(stage="download", done=12_000_000, total=47_000_000), note]), stream)
    assert "Downloading the weights of ResNet-18 (47 MB), once." in stream.getvalue()
    assert "12.0M/47.0M" in stream.getvalue()


def test_of_several_processes_only_one_speaks() -> None:
    stream = Terminal()
    assert progress.show_events(iter(story()), stream, quiet=True) == fabricated_runs.ended()
    assert stream.getvalue() == ""


def test_an_end_that_never_came_is_none() -> None:
    assert progress.show_events(iter(story()[:-1]), io.StringIO()) is None


def test_a_resume_says_from_where() -> None:
    assert str(progress.format_event(fabricated_runs.started(step=15))).startswith("Resuming from step 15")


@pytest.mark.parametrize("reason", ["finished", "stopped", "time", "early"])
def test_every_end_names_the_best_or_that_there_is_none(reason: str) -> None:
    told = str(progress.format_event(fabricated_runs.ended(reason)))
    assert "epoch 2" in told
    assert "93.8" in told
    none = Ended(reason=reason, epoch=0, step=0, best_epoch=None, best_val_accuracy=None, seconds=1.0)
    assert "no model" in str(progress.format_event(none))
    assert "None" not in str(progress.format_event(none))


def test_a_failure_says_why() -> None:
    assert (
        progress.format_event(fabricated_runs.ended("failed", "The loss is no longer a number."))
        == "The loss is no longer a number."
    )


def test_what_only_moves_the_bar_has_no_line() -> None:
    assert [
        progress.format_event(event)
        for event in (FEATURES, fabricated_runs.step(3), Saved(what="last", epoch=1, step=3))
    ] == [None] * 3
