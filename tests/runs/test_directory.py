"""The run directory: what one process writes, any other reads, whole or not yet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core import machine
from ftlab.core.errors import RunError
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Event, LogMessage, Saved, Started
from tests.support import fabricated_runs

STARTED = Started(
    step=0, epochs=1, steps_per_epoch=1, device="cpu", train_images=1, val_images=1, trainable=1, total=1, time=1.0
)


def ended(reason: str, message: str | None = None) -> Ended:
    return Ended(
        reason=reason, epoch=1, step=1, best_epoch=1, best_val_accuracy=1.0, seconds=1.0, message=message, time=2.0
    )


def named(root: Path, *names: str) -> None:
    for name in names:
        (root / name).mkdir(parents=True)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return run_store.create_run(tmp_path / "runs", TrainConfig(sample="shapes", epochs=2))


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing until it is ended."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


# Making, finding


def test_a_new_run_holds_its_configuration(tmp_path: Path, run: Run) -> None:
    assert run.path.parent == tmp_path / "runs"
    assert run_store.RUN_NAME_PATTERN.fullmatch(run.name)
    assert run.load_config() == run.load_resolved_config() == TrainConfig(sample="shapes", epochs=2)
    assert run.load_history().event_count == 0
    run.write_json(
        "config.json",
        {**run.read_json("config.json"), "resolved": {"sample": "shapes", "epochs": 2, "torch_num_threads": 3}},
    )
    assert run.load_config().torch_num_threads is None
    assert run.load_resolved_config().torch_num_threads == 3


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="file") as caught:
        run_store.create_run(tmp_path / "file", TrainConfig())
    assert caught.value.code == "run.write"


def test_runs_are_listed_newest_first_and_nothing_else_is(tmp_path: Path) -> None:
    old, new = "20250101-120000-resnet18-full-00000000000a", "20260101-120000-vit_b_16-frozen-00000000000b"
    named(tmp_path, old, new, "notes", ".hidden", "20250101-120000-resnet18-other-00000000000a")
    (tmp_path / "20250101-120000-resnet18-full-00000000000c").write_text("a file")
    assert run_store.list_run_names(tmp_path) == [new, old]
    assert run_store.list_run_names(tmp_path / "none") == []


def test_a_run_is_found_by_its_name_its_beginning_its_end_or_as_the_latest(tmp_path: Path) -> None:
    old, new = "20250101-120000-resnet18-full-00000000000a", "20260101-120000-vit_b_16-frozen-00000000000b"
    named(tmp_path, old, new)
    for wanted in (old, "2025", "00a"):
        assert run_store.find_run(tmp_path, wanted).path == tmp_path / old
    assert run_store.find_run(tmp_path, "latest").path == tmp_path / new


def test_several_that_fit_are_named_and_none_is_told(tmp_path: Path) -> None:
    one, two = "20250101-120000-resnet18-full-00000000000a", "20250101-120001-resnet18-full-00000000000b"
    named(tmp_path, one, two)
    with pytest.raises(RunError, match=one) as several:
        run_store.find_run(tmp_path, "2025")
    assert several.value.code == "run.several"
    for wanted in ("", "1999", "resnet18"):
        with pytest.raises(RunError) as caught:
            run_store.find_run(tmp_path, wanted)
        assert caught.value.code == "run.missing"
    with pytest.raises(RunError):
        run_store.find_run(tmp_path / "empty", "latest")


def test_latest_passes_over_runs_that_left_nothing_where_a_model_is_needed(tmp_path: Path) -> None:
    good = fabricated_runs.make(tmp_path, [*fabricated_runs.story(), fabricated_runs.ended()])
    failed = fabricated_runs.make(tmp_path, [fabricated_runs.ended("failed")])
    failed.path.rename(newest := tmp_path / "29990101-120000-resnet18-full-00000000000a")
    assert run_store.find_run(tmp_path, "latest").path == newest
    assert run_store.find_usable_run(tmp_path, "latest").path == good.path
    assert run_store.find_usable_run(tmp_path, newest.name).path == newest, "by its name it is still found"
    good.best_weights_path.unlink()
    assert run_store.find_usable_run(tmp_path, "latest").path == good.path, (
        "its weights were lost, and that is to be told"
    )


def test_where_every_run_left_nothing_latest_says_so(tmp_path: Path) -> None:
    failed = fabricated_runs.make(tmp_path, [fabricated_runs.ended("failed")])
    with pytest.raises(RunError, match=failed.name) as caught:
        run_store.find_usable_run(tmp_path, "latest")
    assert caught.value.code == "run.none_usable"


def test_a_run_that_can_go_on_or_is_active_has_not_left_nothing(tmp_path: Path) -> None:
    assert fabricated_runs.make(tmp_path, [fabricated_runs.ended("failed")]).left_nothing()
    assert not fabricated_runs.at_work(fabricated_runs.make(tmp_path, [fabricated_runs.started()])).left_nothing()
    stopped = fabricated_runs.make(tmp_path, [fabricated_runs.started(), fabricated_runs.ended("stopped")])
    stopped.last_checkpoint_path.touch()
    assert not stopped.left_nothing()


def test_find_never_leaves_the_root(tmp_path: Path) -> None:
    secret = "20250101-120000-resnet18-full-00000000000a"
    named(tmp_path, f"outside/{secret}", "root")
    if os.name == "posix":
        (tmp_path / "root" / secret).symlink_to(tmp_path / "outside" / secret, target_is_directory=True)
    for wanted in (secret, f"../outside/{secret}", str(tmp_path / "outside" / secret), "..", ".", "latest", "*", "/"):
        with pytest.raises(RunError):
            run_store.find_run(tmp_path / "root", wanted)


# Writing, reading


def test_what_was_appended_is_read_once_from_each_offset(run: Run) -> None:
    assert run.read_events() == ([], 0)
    run.append_event(STARTED)
    events, offset = run.read_events()
    assert events == [STARTED]
    run.append_event(ended("finished"))
    assert run.read_events(offset)[0] == [ended("finished")]
    assert run.read_events(run.read_events()[1]) == ([], run.read_events()[1])


def test_a_half_written_line_waits(run: Run) -> None:
    line = STARTED.to_line().encode()
    file = run.path / "metrics.jsonl"
    file.write_bytes(line + b"\n" + line[:20])
    assert run.read_events() == ([STARTED], len(line) + 1)
    with file.open("ab") as stream:
        stream.write(line[20:] + b"\n")
    assert run.read_events(len(line) + 1) == ([STARTED], 2 * len(line) + 2)


def test_a_line_that_a_killed_process_left_unfinished_spoils_no_other(run: Run) -> None:
    run.append_event(STARTED)
    with (run.path / "metrics.jsonl").open("ab") as stream:
        stream.write(b'{"event": "step", "st')
    run.append_event(ended("finished"))
    assert run.read_events()[0] == [STARTED, ended("finished")]
    assert run.liveness.read_end_event() == ended("finished")


def test_an_event_may_hold_any_character(run: Run) -> None:
    odd = LogMessage(code="skipped", values={"file": "a\u2028b\x85c\x0bd\ne\r\U0001f41d.jpg"})
    events: list[Event] = [STARTED, odd, Saved(what="best", epoch=1, step=1)]
    for event in events:
        run.append_event(event)
    assert run.read_events()[0] == events


def test_a_json_file_is_replaced_in_one_go_and_leaves_nothing_beside(run: Run) -> None:
    run.write_json("split.json", {"classes": ["ä", "b"]})
    run.write_json("split.json", {"classes": ["ä"]})
    assert run.read_json("split.json") == {"classes": ["ä"]}
    assert sorted(path.name for path in run.path.iterdir()) == ["config.json", "last", "split.json"]


@pytest.mark.parametrize("content", [None, "", "{", "[1, 2]", "3"])
def test_a_file_that_cannot_be_read_is_named(run: Run, content: str | None) -> None:
    if content is not None:
        (run.path / "model.json").write_text(content)
    with pytest.raises(RunError, match=r"model\.json"):
        run.read_json("model.json")


# How it stands


def test_a_new_run_waits_for_its_process_but_not_for_ever(run: Run) -> None:
    assert run.liveness.get_status() == "waiting"
    assert run.liveness.is_active()
    long_ago = time.time() - 3600
    os.utime(run.path / "config.json", (long_ago, long_ago))
    assert run.liveness.get_status() == "died"
    assert not run.liveness.is_active()


def test_it_runs_as_long_as_its_process_lives(run: Run, other: subprocess.Popen[bytes]) -> None:
    run.liveness.set_owner(other.pid)
    run.append_event(STARTED)
    assert run.liveness.get_status() == "running"
    assert [one.name for one in run_store.find_active_runs(run.path.parent)] == [run.name]
    other.kill()
    if os.name == "posix":
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # dead, but nobody asked yet: a zombie
        assert run.liveness.get_status() == "died"
    other.wait()
    assert run.liveness.get_status() == "died"
    assert run_store.find_active_runs(run.path.parent) == []


def test_a_number_that_another_process_got_later_is_not_the_process(run: Run, other: subprocess.Popen[bytes]) -> None:
    run.append_event(STARTED)
    run.write_json("pid", {"pid": other.pid, "created": psutil.Process(other.pid).create_time() - 1000})
    assert run.liveness.get_status() == "died"


@pytest.mark.parametrize("content", ["", "{", "{}", '{"pid": -4, "created": 0}'])
def test_a_pid_file_that_says_nothing_is_no_process(run: Run, content: str) -> None:
    run.append_event(STARTED)
    (run.path / "pid").write_text(content)
    assert run.liveness.get_status() == "died"


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("finished", "finished"),
        ("time", "finished"),
        ("early", "finished"),
        ("stopped", "stopped"),
        ("failed", "failed"),
    ],
)
@pytest.mark.parametrize("message", [None, "x" * 50_000], ids=["short", "long"])
def test_the_last_word_tells_how_it_ended(run: Run, reason: str, status: str, message: str | None) -> None:
    run.append_event(STARTED)
    run.append_event(ended(reason, message))
    assert run.liveness.read_end_event() == ended(reason, message)
    assert run.liveness.get_status() == status


def test_an_end_before_a_resume_is_not_the_end(run: Run) -> None:
    run.append_event(ended("stopped"))
    run.append_event(STARTED)
    assert run.liveness.read_end_event() is None
    assert run.liveness.get_status() == "died"


def test_what_an_earlier_process_told_is_not_the_end_of_the_next(run: Run, other: subprocess.Popen[bytes]) -> None:
    run.append_event(STARTED)
    run.append_event(ended("stopped"))
    assert run.liveness.get_status() == "stopped"
    run.liveness.set_owner(other.pid)
    other.kill()
    other.wait()
    assert run.liveness.read_end_event() is None
    assert run.liveness.get_status() == "died"
    run.append_event(ended("failed"))
    assert run.liveness.get_status() == "failed"


def test_it_hangs_when_its_process_lives_and_is_silent(
    run: Run, other: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [machine.read_awake_clock()]
    monkeypatch.setattr(machine, "read_awake_clock", lambda: now[0])
    run.liveness.set_owner(other.pid)
    now[0] += 119
    assert run.liveness.get_status() == "running"
    now[0] += 2
    assert run.liveness.get_status() == "hanging"
    assert run.liveness.is_active()
    assert [one.name for one in run_store.find_active_runs(run.path.parent)] == [run.name]
    run.liveness.create_heartbeat().beat()
    assert run.liveness.get_status() == "running"
    now[0] += 1000
    other.kill()
    other.wait()
    assert run.liveness.get_status() == "died"


def test_a_machine_that_slept_is_not_taken_for_a_process_that_hangs(
    run: Run, other: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.liveness.set_owner(other.pid)
    tomorrow = time.time() + 86400
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    assert run.liveness.get_status() == "running"


def test_a_run_without_a_sign_of_life_is_not_said_to_hang(run: Run, other: subprocess.Popen[bytes]) -> None:
    run.liveness.set_owner(other.pid)
    (run.path / "heartbeat").unlink()
    assert run.liveness.get_status() == "running"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a birth does not depend on the clock")
def test_a_clock_that_is_set_kills_nobody(
    run: Run, other: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.liveness.set_owner(other.pid)
    boot = psutil.boot_time() + 3600
    monkeypatch.setattr(psutil, "boot_time", lambda: boot)
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot)
    assert run.liveness.get_status() == "running"


# Whose it is


def test_only_one_process_trains_a_run(run: Run, other: subprocess.Popen[bytes]) -> None:
    run.liveness.set_owner(other.pid)
    with pytest.raises(RunError) as caught:
        run.liveness.claim_ownership()
    assert caught.value.code == "run.busy"
    other.kill()
    other.wait()
    run.liveness.claim_ownership()
    assert json.loads((run.path / "pid").read_text())["pid"] == os.getpid()
    run.liveness.claim_ownership()
    run.liveness.release_ownership()
    run.liveness.release_ownership()
    assert not run.liveness.is_process_alive()


def test_a_wish_to_stop_is_heard_and_forgotten_by_the_next_process(run: Run) -> None:
    assert not run.liveness.is_stop_requested()
    assert run.liveness.seconds_since_stop_request() == 0
    run.liveness.request_stop()
    long_ago = time.time() - 100
    os.utime(run.path / "stop", (long_ago, long_ago))
    run.liveness.request_stop()
    assert run.liveness.seconds_since_stop_request() > 90, "the first time counts"
    assert run.liveness.is_stop_requested()
    assert not run.liveness.is_force_stopped()
    if sys.platform != "win32":  # a pipe of that name keeps nobody waiting
        (run.path / "stop").unlink()
        os.mkfifo(run.path / "stop")
        assert run.liveness.is_stop_requested()
        assert not run.liveness.is_force_stopped()
    run.liveness.mark_force_stop()
    assert run.liveness.is_stop_requested()
    assert run.liveness.is_force_stopped()
    assert run.liveness.seconds_since_stop_request() < 90
    run.liveness.claim_ownership()
    assert not run.liveness.is_stop_requested()
    run.liveness.request_stop()
    run.liveness.claim_ownership()
    assert run.liveness.is_stop_requested()
