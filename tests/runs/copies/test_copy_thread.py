"""A run that is copied while it trains: another machine goes on to the same weights; no place can end a training."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from ftlab.cli.common import train_process
from ftlab.core.errors import RunError
from ftlab.models import weights_file
from ftlab.runs.copies import copy_thread, remote_folder, run_copy
from ftlab.runs.copies.copy_thread import CopyThread
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Event, LogMessage, Saved
from tests.support import fabricated_runs

BUCKET = "memory://bucket/runs"
SAVED = Saved(what="last", epoch=1, step=5)


@pytest.fixture(autouse=True)
def _empty_bucket() -> None:
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = fabricated_runs.make(tmp_path / "runs", fabricated_runs.story(epochs=1))
    run.last_checkpoint_path.parent.mkdir(exist_ok=True)
    run.last_checkpoint_path.write_bytes(b"last")
    return run


def follow(run: Run, events: list[Event], place: str = BUCKET) -> list[Event]:
    """What a training records that is copied, each event before the next happens."""
    recorded: list[Event] = []
    for event in CopyThread(run, place).follow(iter(events)):
        run.append_event(event)
        recorded.append(event)
    return recorded


def list_codes(events: list[Event]) -> list[str]:
    return [event.code for event in events if isinstance(event, LogMessage)]


def test_a_run_that_is_stopped_goes_on_elsewhere_to_the_weights_of_an_undisturbed_one(
    begin: Callable[..., Run], tmp_path: Path
) -> None:
    undisturbed = begin(mode="scratch", learning_rate=1e-3)
    train_process.run_training(undisturbed, undisturbed.load_config())
    copied = begin(mode="scratch", learning_rate=1e-3, copy_to=BUCKET)
    for event in train_process.record_training(copied, copied.load_config()):
        if getattr(event, "kind", "") == "epoch" and getattr(event, "epoch", 0) == 1:
            copied.liveness.request_stop()
    assert "copy_made" in list_codes(copied.read_events()[0])
    shutil.rmtree(copied.path)  # the machine is gone
    fetched = run_copy.fetch_copy(f"{BUCKET}/{copied.name}", tmp_path / "elsewhere")
    end_event = fetched.liveness.read_end_event()
    assert end_event is not None
    assert end_event.reason == "stopped"
    assert train_process.run_training(fetched, fetched.load_config()).reason == "finished"  # type: ignore[union-attr]
    tensors, expected = (weights_file.load_tensors(one.best_weights_path)[0] for one in (fetched, undisturbed))
    assert all(bool((tensors[name] == expected[name]).all()) for name in expected)


def test_no_copy_is_made_where_none_is_asked_for(run: Run) -> None:
    events: list[Event] = [SAVED, fabricated_runs.ended()]
    assert follow(run, events, place="") == events


def test_a_place_that_fails_is_warned_of_once_and_the_training_goes_on(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RunError("copy.failed", place="there", cause="access denied")

    monkeypatch.setattr(copy_thread, "COPY_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(run_copy, "send_snapshot", refuse)
    recorded = follow(run, [SAVED, SAVED, SAVED, fabricated_runs.ended()])
    assert list_codes(recorded) == ["copy_failed"]
    assert isinstance(recorded[-1], Ended)
    assert list(run.path.glob("*.part")) == []


def test_a_place_that_does_not_answer_delays_the_end_for_a_limited_time(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(copy_thread, "FINISH_SECONDS", 0.1)
    monkeypatch.setattr(run_copy, "send_snapshot", lambda *_: answers.wait(60))
    recorded = follow(run, [SAVED, fabricated_runs.ended()])
    answers.set()
    assert list_codes(recorded) == ["copy_late"]


def test_of_checkpoints_that_come_faster_than_they_are_sent_only_the_newest_is(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_sending, may_go_on, sent = threading.Event(), threading.Event(), []

    def send(folder: Path, _name: str, _place: str) -> None:
        sent.append((folder / "last" / "state.safetensors").read_bytes())
        is_sending.set()
        may_go_on.wait(60)

    monkeypatch.setattr(run_copy, "send_snapshot", send)
    recorded: list[Event] = []
    for number, event in enumerate(
        CopyThread(run, BUCKET).follow(iter([SAVED, SAVED, SAVED, fabricated_runs.ended()]))
    ):
        if number:
            assert is_sending.wait(60)
            run.last_checkpoint_path.unlink()
            run.last_checkpoint_path.write_bytes(str(number).encode())
        if number == 2:
            may_go_on.set()
        recorded.append(event)
    # The last two are those before and after the end is recorded; a message that the first was made came between.
    assert sent == [b"last", b"2", b"4"]


def test_the_password_of_an_address_is_in_no_message(run: Run) -> None:
    place = "memory://ann:secret@bucket/runs"
    recorded = follow(run, [SAVED, fabricated_runs.ended()], place)
    assert [event.values["place"] for event in recorded if isinstance(event, LogMessage)] == [
        f"{remote_folder.hide_secrets(place)}/{run.name}"
    ]
