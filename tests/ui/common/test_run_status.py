"""What the page shows of a run, read from runs that were written down by hand."""

from __future__ import annotations

import os
import re
import threading
import time
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from ftlab.core import machine
from ftlab.core.errors import FtlabError
from ftlab.runs.directory import Run
from ftlab.runs.events import Event, LogMessage, Progress
from ftlab.ui.common import run_status, run_status_view
from ftlab.ui.common.run_status import RunSnapshot, RunWatcher
from tests.support import fabricated_runs


def look(run: Run) -> RunSnapshot:
    return RunWatcher(run).take_snapshot(0)


def read(text: str) -> str:
    """What a person reads of a piece of HTML."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", text)).split())


@pytest.mark.parametrize(
    ("events", "state", "says"),
    [
        ([], "waiting", "Starting"),
        ([Progress(stage="download", done=12_000_000, total=47_000_000)], "download", "12 of 47 MB"),
        ([fabricated_runs.started()], "preparing", "Preparing"),
        ([fabricated_runs.started(), Progress(stage="features", done=30, total=120)], "features", "30 of 120 pictures"),
        (fabricated_runs.story(epochs=2), "training", "Epoch 2 of 4"),
        ([*fabricated_runs.story(), Progress(stage="validation", done=8, total=80)], "validation", "Validating"),
    ],
)
def test_a_run_at_work_says_what_it_does(tmp_path: Path, events: list[Event], state: str, says: str) -> None:
    seen = look(fabricated_runs.at_work(fabricated_runs.make(tmp_path, events)))
    assert (seen.state, seen.is_live, seen.is_resumable) == (state, True, False)
    assert says in read(seen.head_html)


@pytest.mark.parametrize(
    ("reason", "state", "resumable", "says"),
    [
        ("finished", "finished", False, "Best: 93.8 % on validation, in epoch 2. Try it in Predict."),
        ("time", "time", False, "Finished: time limit reached"),
        ("stopped", "stopped", True, "Try it in Predict, or press Resume to continue."),
        ("failed", "failed", True, "The loss is no number any more."),
    ],
)
def test_a_run_that_ended_says_why_and_what_next(
    tmp_path: Path, reason: str, state: str, *, resumable: bool, says: str
) -> None:
    message = "The loss is no number any more." if reason == "failed" else None
    seen = look(fabricated_runs.make(tmp_path, [*fabricated_runs.story(), fabricated_runs.ended(reason, message)]))
    assert (seen.state, seen.is_live, seen.is_resumable, seen.has_model) == (state, False, resumable, True)
    assert says in read(seen.head_html)


def test_pictures_per_second_is_shown_only_where_pictures_pass_through_the_network(tmp_path: Path) -> None:
    story = fabricated_runs.story(epochs=2)
    computed = LogMessage(code="features", values={"images": 400, "seconds": 2.0, "rate": 200})
    text = read(
        look(fabricated_runs.at_work(fabricated_runs.make(tmp_path, [story[0], computed, *story[1:]]))).head_html
    )
    assert "Pictures per second" not in text
    assert "Device CPU" in text


def test_a_run_that_is_no_better_than_untrained_is_not_called_improved(tmp_path: Path) -> None:
    untrained = [fabricated_runs.started(), fabricated_runs.epoch(0, 0.5, best=True)]
    worse = [*untrained, fabricated_runs.epoch(1, 0.25, best=False), fabricated_runs.ended("stopped")]
    assert not look(fabricated_runs.make(tmp_path, worse)).has_improved
    assert look(fabricated_runs.make(tmp_path, [*fabricated_runs.story(), fabricated_runs.ended()])).has_improved


def test_the_figures_are_those_of_the_events(tmp_path: Path) -> None:
    text = read(look(fabricated_runs.make_at_work(tmp_path)).head_html)
    assert "Best accuracy 93.8 % untrained: 12.5 %" in text
    assert "Epoch 2 of 4 step 20 of 40" in text
    assert "Pictures per second 321 on CPU" in text
    # 19 steps in 1.9 s, 20 more to go
    assert "Time left 2 s 320 + 80 pictures" in text


def test_the_bar_is_as_long_as_the_share_of_steps_done(tmp_path: Path) -> None:
    assert 'style="width:50.0%"' in look(fabricated_runs.make_at_work(tmp_path)).head_html


def test_a_wish_to_stop_shows_at_once(tmp_path: Path) -> None:
    run = fabricated_runs.make_at_work(tmp_path)
    watch = RunWatcher(run)
    assert watch.take_snapshot(0).state == "training"
    run.liveness.request_stop()
    assert watch.take_snapshot(0).state == "stopping"


def test_a_process_that_died_says_why_and_leaves_its_last_lines(tmp_path: Path) -> None:
    run = fabricated_runs.make(tmp_path, fabricated_runs.story(epochs=2))
    run.log_path.write_text("Traceback (most recent call last):\n  <b>\nMemoryError: no <more>\n", encoding="utf-8")
    run.liveness.set_owner(2**22 + 1)
    fabricated_runs.write(run, [fabricated_runs.started(step=20)])
    seen = look(run)
    assert (seen.state, seen.is_live, seen.is_resumable, seen.stop_action) == ("died", False, True, "")
    assert "Time left" not in seen.head_html
    assert "Out of memory The training ran out of memory (MemoryError: no <more>). Close other programs" in read(
        seen.head_html
    )
    assert "Nothing was saved yet: Resume starts again from the beginning." in read(seen.head_html)
    assert "  &lt;b&gt;\nMemoryError: no &lt;more&gt;" in seen.head_html
    run.last_checkpoint_path.touch()
    assert "Resume continues from its last checkpoint." in read(look(run).head_html)


def test_who_waits_for_the_process_may_write_down_how_it_ended_a_moment_later(tmp_path: Path) -> None:
    run = fabricated_runs.make_at_work(tmp_path)
    watch = RunWatcher(run)
    at_work_still = watch.take_snapshot(0)
    (run.path / "pid").unlink()
    assert watch.take_snapshot(0) is at_work_still
    run.liveness.record_exit(os.getpid(), 7)
    assert "status 7" in read(watch.take_snapshot(0).head_html)


def test_an_end_that_nobody_saw_is_told_at_the_second_look(tmp_path: Path) -> None:
    run = fabricated_runs.make_at_work(tmp_path)
    watch = RunWatcher(run)
    watch.take_snapshot(0)
    (run.path / "pid").unlink()
    watch.take_snapshot(0)
    assert "the cause is unknown" in read(watch.take_snapshot(0).head_html)


class Clock:
    """Both clocks, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
        self.run, self.now = run, machine.read_awake_clock()
        monkeypatch.setattr(machine, "read_awake_clock", lambda: self.now)

    def go(self, seconds: float) -> None:
        self.now += seconds
        if self.run.liveness.is_stop_requested():
            asked = time.time() - self.run.liveness.seconds_since_stop_request() - seconds
            os.utime(self.run.path / "stop", (asked, asked))


def test_a_silent_process_is_told_with_what_it_did_last_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fabricated_runs.make_at_work(tmp_path)
    run.log_path.write_text("waiting for <the> drive\n", encoding="utf-8")
    clock, watch = Clock(monkeypatch, run), RunWatcher(run)
    clock.go(100)
    assert watch.take_snapshot(0).state == "training"
    clock.go(100)
    seen = watch.take_snapshot(0)
    assert (seen.status, seen.state, seen.is_live, seen.stop_action) == ("hanging", "hanging", True, "stop")
    assert "Not responding No sign of life for 3 min 20 s. Last activity: Training, step 20 of 40." in read(
        seen.head_html
    )
    assert "waiting for &lt;the&gt; drive" in seen.log_html
    clock.go(1)
    assert "3 min 21 s" in watch.take_snapshot(0).head_html
    run.liveness.create_heartbeat().beat()
    assert watch.take_snapshot(0).state == "training"


def test_one_that_is_silent_and_does_not_obey_may_be_ended_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fabricated_runs.make_at_work(tmp_path)
    clock, watch = Clock(monkeypatch, run), RunWatcher(run)
    clock.go(200)
    run.liveness.request_stop()
    seen = watch.take_snapshot(0)
    assert (seen.state, seen.stop_action) == ("stopping", "")
    clock.go(6)
    seen = watch.take_snapshot(0)
    assert (seen.state, seen.stop_action) == ("overdue", "end")
    assert "asked to stop 6 s ago, and there has been no sign of life for 3 min 26 s" in read(seen.head_html)
    assert "“End now”" in seen.head_html
    run.liveness.mark_force_stop()
    assert (watch.take_snapshot(0).state, watch.take_snapshot(0).stop_action) == ("ending", "")
    clock.go(10)
    assert watch.take_snapshot(0).stop_action == "end", "whoever wanted to end it is gone: it can be tried again"
    run.liveness.release_ownership()
    seen = watch.take_snapshot(0)
    assert (seen.status, seen.state, seen.is_resumable) == ("stopped", "ended", True)
    assert "Ended on request" in read(seen.head_html)


def test_one_that_works_is_given_more_time_to_obey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fabricated_runs.make_at_work(tmp_path)
    clock, watch = Clock(monkeypatch, run), RunWatcher(run)
    heart = run.liveness.create_heartbeat()
    heart.beat(20.0)
    run.liveness.request_stop()
    clock.go(60)
    assert (watch.take_snapshot(0).state, watch.take_snapshot(0).stop_action) == ("stopping", "")
    clock.go(20)
    seen = watch.take_snapshot(0)
    assert (seen.status, seen.state, seen.stop_action) == ("running", "overdue", "end")
    assert "later work is lost" in seen.head_html


def test_a_warning_stands_out_in_the_log(tmp_path: Path) -> None:
    said: Any = {"code": "skipped", "values": {"file": "x.jpg", "problem": "It is empty."}}
    notes = [
        LogMessage(time=1.0, **said),
        LogMessage(time=2.0, level="warning", **said),
        LogMessage(time=3.0, level='"><b>', **said),
    ]
    text = look(fabricated_runs.make(tmp_path, [fabricated_runs.started(), *notes])).log_html
    assert re.findall(r'<li class="(.*?)">', text) == ["note", "note warning", "note"]


def test_the_log_tells_the_notes_and_the_epochs_the_newest_first(tmp_path: Path) -> None:
    skipped = LogMessage(time=1003.05, code="skipped", values={"file": "<i>x</i>.jpg", "problem": "It is empty."})
    text = look(fabricated_runs.make(tmp_path, [*fabricated_runs.story(epochs=3), skipped])).log_html
    told = re.findall(r"</time>(.*?)</li>", text)
    assert [line[:8] for line in told if line.startswith("Epoch")] == ["Epoch 3:", "Epoch 2:", "Epoch 1:"]
    assert told[-1] == "Untrained: validation accuracy 12.5 %, loss 2.250."
    assert "Epoch 2: validation accuracy 93.8 %, loss 0.500. Best so far." in told
    assert "&lt;i&gt;x&lt;/i&gt;.jpg" in text
    assert "<i>x</i>" not in text


def test_a_note_of_another_version_is_shown_by_its_code(tmp_path: Path) -> None:
    note = LogMessage(time=1.0, code="brand_new", values={"what": "<script>"})
    assert (
        "brand_new what=&lt;script&gt;"
        in look(fabricated_runs.make(tmp_path, [fabricated_runs.started(), note])).log_html
    )


def test_only_what_was_appended_is_read_and_an_unchanged_run_is_not_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fabricated_runs.make_at_work(tmp_path)
    asked: list[int] = []
    tail = Run.read_events

    def heard(self: Run, offset: int = 0) -> tuple[list[Event], int]:
        asked.append(offset)
        return tail(self, offset)

    monkeypatch.setattr(Run, "read_events", heard)
    watch = RunWatcher(run)
    first = watch.take_snapshot(0)
    assert watch.take_snapshot(0) is first
    fabricated_runs.write(run, [fabricated_runs.step(21)])
    second = watch.take_snapshot(0)
    assert second is not first
    assert "step 21 of 40" in read(second.head_html)
    size = (run.path / "metrics.jsonl").stat().st_size
    assert asked[0] == 0
    assert asked[2] == asked[1] < size


def test_marks_change_only_where_the_page_does(tmp_path: Path) -> None:
    run = fabricated_runs.make_at_work(tmp_path)
    watch = RunWatcher(run)
    before = watch.take_snapshot(0).digest_parts()
    fabricated_runs.write(run, [fabricated_runs.step(21)])
    after = watch.take_snapshot(0).digest_parts()
    assert {key for key in before if before[key] != after[key]} == {"head", "curves"}


def test_all_pages_that_look_at_a_run_share_one_watch(tmp_path: Path) -> None:
    run = fabricated_runs.make(tmp_path, fabricated_runs.story())
    assert run_status.watch_run(Run(run.path)) is run_status.watch_run(Run(run.path))


def test_watches_are_given_up_when_there_are_many(tmp_path: Path) -> None:
    first = run_status.watch_run(Run(tmp_path / "first"))
    for index in range(run_status.MAX_WATCHED_RUNS):
        run_status.watch_run(Run(tmp_path / str(index)))
    assert run_status.watch_run(Run(tmp_path / "first")) is not first


def test_many_pages_at_once_read_each_event_once(tmp_path: Path) -> None:
    run = fabricated_runs.make_at_work(tmp_path)
    watch = RunWatcher(run)
    threads = [threading.Thread(target=lambda: [watch.take_snapshot(0) for _ in range(5)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(21, 41):
        fabricated_runs.write(run, [fabricated_runs.step(number)])
    for thread in threads:
        thread.join()
    watch.take_snapshot(0)
    assert [row.step for row in watch.read_history().steps] == list(range(1, 41))


def test_a_replaced_file_is_read_from_its_beginning(tmp_path: Path) -> None:
    run = fabricated_runs.make(tmp_path, fabricated_runs.story())
    watch = RunWatcher(run)
    watch.take_snapshot(0)
    (run.path / "metrics.jsonl").unlink()
    fabricated_runs.write(run, fabricated_runs.story(epochs=1))
    watch.take_snapshot(0)
    assert len(watch.read_history().epochs) == 2


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        '{"event": "step"}',
        '{"event": "unheard of", "x": 1}',
        '{"event": "note", "code": 3, "values": {}, "time": 1}',
    ],
)
def test_lines_that_mean_nothing_are_passed_over(tmp_path: Path, line: str) -> None:
    run = fabricated_runs.make(tmp_path, fabricated_runs.story())
    with (run.path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    assert "93.8 %" in look(run).head_html


def test_a_line_with_a_value_of_a_wrong_type_is_passed_over(tmp_path: Path) -> None:
    run = fabricated_runs.make(tmp_path, fabricated_runs.story())
    before = look(run).head_html
    with (run.path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(fabricated_runs.step(41).to_line().replace('"step": 41', '"step": "<b>much</b>"') + "\n")
    assert look(run).head_html == before


def test_a_run_that_cannot_be_shown_says_so_on_the_page(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fabricated_runs.make(tmp_path, fabricated_runs.story())

    def fail(*_arguments: object) -> str:
        raise TypeError("<b>much</b>")

    monkeypatch.setattr(run_status_view, "render_log", lambda history, *_rest: fail() if history.epochs else "")
    seen = look(run)
    assert "This run cannot be shown" in read(seen.head_html)
    assert "<b>much" not in seen.head_html
    assert "cannot be shown" in caplog.text


def test_a_missing_run_can_be_looked_at(tmp_path: Path) -> None:
    assert isinstance(look(Run(tmp_path / "gone")), RunSnapshot)


def test_errors_of_ours_are_told_in_their_own_words() -> None:
    error = FtlabError("run.busy", run="<x>")
    assert "Run &lt;x&gt; is still training." in run_status.build_error_snapshot("x", error).head_html


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")],
)
def test_lengths_of_time_are_told_as_people_do(seconds: float | None, text: str) -> None:
    assert run_status_view.format_duration(seconds) == text


def test_a_runs_title_tells_it_from_the_others(tmp_path: Path) -> None:
    run = fabricated_runs.make(
        tmp_path, [*fabricated_runs.story(), fabricated_runs.ended()], backbone="resnet18", mode="full"
    )
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d · ResNet-18, full · 93\.8 % · finished", run_status_view.format_run_title(run)
    ), run_status_view.format_run_title(run)
