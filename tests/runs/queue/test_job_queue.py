"""The queue from outside: what is asked for at once runs in turn, and survives whatever happens to its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import RunError
from ftlab.runs import run_quota, run_store, trash
from ftlab.runs.directory import Run
from ftlab.runs.queue import marker, queue_limits, queue_pause
from ftlab.runs.queue.database import DATABASE_FILE
from ftlab.runs.queue.job_queue import MAX_LAUNCHES, JobQueue
from ftlab.runs.queue.queue_limits import QueueLimits
from tests.support import ROOT, fabricated_runs
from tests.support.fake_jobs import FakeLauncher, add, began, doubled, work_off
from tests.support.staged_jobs import until

LONG = 60.0
"""Seconds of a job that ends only when it is asked to."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def launcher() -> Iterator[FakeLauncher]:
    launcher = FakeLauncher()
    yield launcher
    launcher.clear()


@pytest.fixture
def queue(root: Path, launcher: FakeLauncher) -> JobQueue:
    return JobQueue(root, launcher)


@pytest.fixture(autouse=True)
def no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FTLAB_QUEUE_RUNNING", "FTLAB_QUEUE_WAITING"):
        monkeypatch.setenv(name, "")


# --- in turn


def test_a_queued_run_starts_at_once_where_nothing_runs_with_the_command_a_person_would_type(
    root: Path, queue: JobQueue, launcher: FakeLauncher
) -> None:
    run = add(queue, epochs=3)
    assert run.liveness.get_status() == "queued"
    assert [started.name for started in queue.dispatch()] == [run.name]
    assert launcher.commands[0][:6] == ["python", "-m", "ftlab", "train", "--sample", "shapes"]
    assert launcher.commands[0][-2:] == ["--runs", str(root)]
    until(lambda: run.liveness.get_status() == "finished")
    assert queue.dispatch() == []


def test_the_second_waits_for_the_first_and_follows_it(root: Path, queue: JobQueue, launcher: FakeLauncher) -> None:
    launcher.seconds = LONG
    first, second = add(queue), add(queue)
    queue.dispatch()
    assert queue.dispatch() == []
    assert (first.liveness.get_status(), second.liveness.get_status()) == ("running", "queued")
    state = queue.read_state()
    assert [job.run.name for job in state.active] == [first.name]
    assert [job.run.name for job in state.waiting] == [second.name]
    first.liveness.request_stop()
    until(queue.dispatch)
    until(lambda: began(root) == [first.name, second.name])


def test_fifty_of_one_person_let_another_one_in_after_one_turn(
    root: Path, queue: JobQueue, launcher: FakeLauncher
) -> None:
    launcher.seconds = LONG
    anns = [add(queue, "ann") for _ in range(50)]
    queue.dispatch()
    bobs = add(queue, "bob")
    launcher.seconds = 0.0
    anns[0].liveness.request_stop()
    work_off(queue, root)
    names = began(root)
    assert names.index(bobs.name) <= 2, "the running one, and one turn at most"
    assert [name for name in names if name != bobs.name] == [run.name for run in anns]
    assert doubled(root) == []


def test_a_training_that_somebody_started_directly_is_waited_for(queue: JobQueue, root: Path) -> None:
    other = fabricated_runs.make_at_work(root)
    run = add(queue)
    assert queue.dispatch() == []
    other.liveness.release_ownership()
    assert [started.name for started in queue.dispatch()] == [run.name]


def test_only_runs_of_the_same_device_wait_for_each_other(
    queue: JobQueue, launcher: FakeLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher.seconds = LONG
    runs = {
        name: add(queue, device=device) for name, device in (("a", "cpu"), ("b", "cpu"), ("c", "cuda"), ("d", "auto"))
    }
    assert {run.name for run in queue.dispatch()} == {runs["a"].name, runs["c"].name}
    queue_limits.declare_limits(QueueLimits(running_per_device=2))
    assert [run.name for run in queue.dispatch()] == [runs["b"].name]
    monkeypatch.setenv("FTLAB_QUEUE_RUNNING", "nonsense")
    assert queue_limits.read_limits().running_per_device == 1


def test_one_person_may_have_so_many_waiting_and_others_still_may(queue: JobQueue, root: Path) -> None:
    queue_limits.declare_limits(QueueLimits(waiting_per_person=3))
    for _ in range(3):
        add(queue, "ann")
    with pytest.raises(RunError, match=r"3 of your trainings are waiting already"):
        add(queue, "ann")
    add(queue, "bob")
    assert len(run_store.list_run_names(root)) == 4, "a refused one leaves nothing"


def test_a_hundred_starts_of_many_threads_and_processes_are_one_at_a_time_and_all_of_them(root: Path) -> None:
    command = [sys.executable, "-m", "tests.support.fake_jobs", str(root), "25"]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    names = run_store.list_run_names(root)
    assert len(names) == 100
    assert sorted(began(root)) == sorted(names), "each began, and only once"
    assert doubled(root) == [], "never two at once"


# --- held


def test_a_pause_holds_whom_it_binds_and_nobody_else_and_they_follow_in_their_order(
    queue: JobQueue, root: Path, launcher: FakeLauncher
) -> None:
    config = TrainConfig(sample="shapes")
    students = [queue.add_training(config, f"student {number}", is_pausable=True) for number in range(2)]
    stopped = fabricated_runs.make(root, [*fabricated_runs.story(), fabricated_runs.ended("stopped")])
    students.append(queue.add_resume(stopped, is_pausable=True))
    teachers = add(queue, "teacher")
    queue_pause.set_paused(root, is_paused=True)
    state = queue.read_state()
    assert [(job.run.name, job.is_held) for job in state.waiting] == [
        (teachers.name, False),
        *((run.name, True) for run in students),
    ]
    assert [run.name for run in queue.dispatch()] == [teachers.name]
    until(lambda: teachers.liveness.get_status() == "finished")
    assert JobQueue(root, launcher).dispatch() == [], "nor does another process start one"
    assert queue.cancel(students[1]), "it can be taken out"
    queue_pause.set_paused(root, is_paused=False)
    work_off(queue, root)
    assert began(root) == [teachers.name, students[0].name, stopped.name]


def test_a_run_at_work_goes_on_while_the_queue_is_held(queue: JobQueue, root: Path, launcher: FakeLauncher) -> None:
    launcher.seconds = LONG
    run = queue.add_training(TrainConfig(sample="shapes"), "ann", is_pausable=True)
    queue.dispatch()
    queue_pause.set_paused(root, is_paused=True)
    assert run.liveness.get_status() == "running"
    assert not run.liveness.is_stop_requested()


# --- resumed, cancelled


def test_a_stopped_run_is_resumed_in_its_turn(queue: JobQueue, root: Path, launcher: FakeLauncher) -> None:
    run = fabricated_runs.make(root, [*fabricated_runs.story(), fabricated_runs.ended("stopped")])
    queue.add_resume(run)
    assert run.liveness.get_status() == "queued"
    with pytest.raises(RunError) as caught:
        queue.add_resume(run)
    assert caught.value.code == "run.busy"
    work_off(queue, root)
    assert launcher.commands == [["python", "-m", "ftlab", "resume", run.name, "--runs", str(root)]]
    with pytest.raises(RunError) as caught:
        queue.add_resume(run)
    assert caught.value.code == "run.finished"


def test_a_cancelled_run_never_begins_counts_as_stopped_and_can_be_deleted_or_queued_again(
    queue: JobQueue, root: Path
) -> None:
    run, other = add(queue), add(queue)
    with pytest.raises(RunError):
        trash.discard_runs([run])
    assert queue.cancel(run)
    assert run.liveness.get_status() == "stopped"
    assert not queue.cancel(run)
    work_off(queue, root)
    assert began(root) == [other.name]
    assert not queue.cancel(other), "it has begun: its process is to be asked"
    queue.add_resume(run)
    work_off(queue, root)
    assert began(root) == [other.name, run.name]
    trash.discard_runs([run])


def test_a_resumed_run_that_is_cancelled_is_what_it_was(queue: JobQueue, root: Path) -> None:
    run = fabricated_runs.make(root, [*fabricated_runs.story(), fabricated_runs.ended("stopped")])
    events = run.read_events()[0]
    queue.add_resume(run)
    assert queue.cancel(run)
    assert (run.liveness.get_status(), run.read_events()[0]) == ("stopped", events)


# --- a turn of this process


def test_a_process_that_waits_takes_its_own_turn_and_nobody_else_does(queue: JobQueue, launcher: FakeLauncher) -> None:
    launcher.seconds = LONG
    first = add(queue)
    queue.dispatch()
    mine = queue.add_training(TrainConfig(sample="shapes"), waits_here=True)
    later = add(queue)
    assert not queue.take_turn(mine)
    first.liveness.request_stop()
    until(lambda: not first.liveness.is_process_alive())
    assert queue.dispatch() == [], "the place is kept for it"
    assert queue.take_turn(mine)
    process = mine.liveness.find_process()
    assert process is not None
    assert process.pid == os.getpid()
    assert mine.liveness.get_status() == "running"
    assert queue.dispatch() == []
    mine.liveness.release_ownership()
    assert [run.name for run in queue.dispatch()] == [later.name]
    with pytest.raises(RunError) as caught:
        queue.take_turn(mine)
    assert caught.value.code == "run.cancelled"


def test_a_process_that_died_or_sleeps_while_it_waited_holds_nobody_up(queue: JobQueue) -> None:
    dead = queue.add_training(TrainConfig(sample="shapes"), waits_here=True)
    content = dead.read_json("queued")
    dead.write_json("queued", {**content, "waiter_pid": 2**22 + 1})
    suspended = queue.add_training(TrainConfig(sample="shapes"), waits_here=True)
    os.utime(suspended.path / "queued", (1, 1))
    run = add(queue)
    assert [started.name for started in queue.dispatch()] == [run.name]
    assert dead.liveness.get_status() == "stopped"
    assert suspended.liveness.get_status() == "queued", "it may wake up"


# --- what may be lost


def test_a_lost_or_damaged_database_loses_no_run_and_no_turn(
    queue: JobQueue, root: Path, launcher: FakeLauncher
) -> None:
    launcher.seconds = LONG
    runs = [add(queue, "ann"), add(queue, "ann")]
    queue.dispatch()
    time.sleep(0.01)
    bobs = add(queue, "bob")
    for content in (None, b"damaged" * 1000):
        for file in root.glob(f"{DATABASE_FILE}*"):
            file.unlink()
        if content:
            (root / DATABASE_FILE).write_bytes(content)
        state = queue.read_state()
        assert [job.run.name for job in state.active] == [runs[0].name]
        assert {job.run.name for job in state.waiting} == {runs[1].name, bobs.name}
        assert queue.dispatch() == []
    launcher.seconds = 0.0
    runs[0].liveness.request_stop()
    work_off(queue, root)
    assert sorted(began(root)) == sorted(run.name for run in (*runs, bobs))


@pytest.mark.parametrize("content", ["", "[]", "{", '{"time": "x"}', '{"time": 1.0, "environment": {"PATH": "/evil"}}'])
def test_a_damaged_marker_loses_no_run(queue: JobQueue, root: Path, launcher: FakeLauncher, content: str) -> None:
    run = add(queue, "ann")
    (run.path / "queued").write_text(content, encoding="utf-8")
    (job,) = queue.read_state().waiting
    assert job.marker.owner == run_quota.make_owner("ann")
    work_off(queue, root)
    assert began(root) == [run.name]
    assert launcher.environments[0].get("PATH") == os.environ.get("PATH")


def test_what_a_server_declared_for_its_trainings_holds_whoever_starts_them(
    queue: JobQueue, launcher: FakeLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTLAB_RUN_QUOTA_BYTES", "1000000")
    monkeypatch.delenv("FTLAB_REFUSE_LINKS", raising=False)
    add(queue)
    monkeypatch.setenv("FTLAB_RUN_QUOTA_BYTES", "5")
    monkeypatch.setenv("FTLAB_REFUSE_LINKS", "1")
    queue.dispatch()
    assert launcher.environments[0]["FTLAB_RUN_QUOTA_BYTES"] == "1000000"
    assert "FTLAB_REFUSE_LINKS" not in launcher.environments[0]


def test_one_that_cannot_be_started_fails_and_holds_nobody_up(queue: JobQueue) -> None:
    broken, run = add(queue), add(queue)
    (broken.path / "config.json").write_text("{", encoding="utf-8")
    assert [started.name for started in queue.dispatch()] == [run.name]
    assert broken.liveness.get_status() == "failed"
    end_event = broken.liveness.read_end_event()
    assert end_event is not None
    assert "config.json is missing or damaged" in (end_event.message or "")


def test_one_whose_process_ends_before_it_begins_is_started_again_but_not_for_ever(
    queue: JobQueue, root: Path, launcher: FakeLauncher
) -> None:
    launcher.code = "raise SystemExit('no such module')"
    run = add(queue)
    work_off(queue, root)
    assert len(launcher.processes) == MAX_LAUNCHES
    assert run.liveness.get_status() == "failed"


# --- killed at any moment

KILLED = """
import os, signal, subprocess, sys
from pathlib import Path
from ftlab.runs.liveness import RunLiveness
from ftlab.runs.queue import database, job_queue, marker
from tests.support import fake_jobs

def kill(*_, **_named):
    os.kill(os.getpid(), signal.SIGKILL)

def before(owner, name):
    setattr(owner, name, kill)

def after(owner, name):
    real = getattr(owner, name)
    def call(*values, **named):
        real(*values, **named)
        kill()
    setattr(owner, name, call)

class Input:
    def __init__(self, stream):
        self.stream = stream
    def write(self, line):
        MOMENT == "before go" and kill()
        self.stream.write(line)
        self.stream.flush()
        MOMENT == "after go" and kill()
    def close(self):
        self.stream.close()

def popen(*values, **named):
    process = real_popen(*values, **named)
    process.stdin = Input(process.stdin)
    return process

MOMENT = sys.argv[2]
real_popen, subprocess.Popen = subprocess.Popen, popen
{
    "before the marker counts": lambda: before(marker, "write_marker"),
    "after the marker counts": lambda: after(marker, "write_marker"),
    "before the process": lambda: before(subprocess, "Popen"),
    "after the process": lambda: after(subprocess, "Popen"),
    "before the run names it": lambda: before(RunLiveness, "set_owner"),
    "after the run names it": lambda: after(RunLiveness, "set_owner"),
    "before go": int,
    "after go": int,
    "before the turn is kept": lambda: before(database, "_write_turns"),
    "after the turn is kept": lambda: after(database, "_write_turns"),
}[MOMENT]()
job_queue.JobQueue(sys.argv[1], fake_jobs.FakeLauncher(0.2)).dispatch()
raise SystemExit("it was not killed")
"""
MOMENTS = (
    *("before the marker counts", "after the marker counts", "before the process", "after the process"),
    *("before the run names it", "after the run names it", "before go", "after go"),
    *("before the turn is kept", "after the turn is kept"),
)


@pytest.mark.skipif(os.name == "nt", reason="signals are a thing of POSIX")
@pytest.mark.parametrize("moment", MOMENTS)
def test_whoever_starts_a_run_may_be_killed_at_any_moment(queue: JobQueue, root: Path, moment: str) -> None:
    runs = [add(queue, "ann"), add(queue, "bob")]
    killed = subprocess.run([sys.executable, "-c", KILLED, root, moment], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    # Two others look after the queue from now on.
    others = [threading.Thread(target=work_off, args=(JobQueue(root, queue._launcher), root)) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert began(root) == [run.name for run in runs], "nothing is doubled, nothing is lost, the order is kept"
    assert doubled(root) == []
    assert [run.liveness.get_status() for run in runs] == ["finished"] * 2


@pytest.mark.skipif(os.name == "nt", reason="signals are a thing of POSIX")
@pytest.mark.parametrize("moment", ["before the marker is gone", "after the marker is gone"])
def test_a_process_that_waits_may_be_killed_while_it_takes_its_turn(queue: JobQueue, root: Path, moment: str) -> None:
    code = (
        "import os, signal, sys\n"
        "from ftlab.config.train_config import TrainConfig\n"
        "from ftlab.runs.queue import job_queue, marker\n"
        "from tests.support import fake_jobs\n"
        "real = marker.remove_marker\n"
        "def remove(run):\n"
        "    sys.argv[2].startswith('after') and real(run)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "queue = job_queue.JobQueue(sys.argv[1], fake_jobs.FakeLauncher())\n"
        "run = queue.add_training(TrainConfig(sample='shapes'), waits_here=True)\n"
        "marker.remove_marker = remove\n"
        "queue.take_turn(run)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, root, moment], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    waiter, later = Run(root / run_store.list_run_names(root)[0]), add(queue)
    work_off(queue, root)
    assert began(root) == [later.name]
    assert waiter.liveness.get_status() in ("stopped", "died")
    assert not waiter.liveness.is_active()


def test_the_launcher_of_a_queue_ends_what_does_not_react(queue: JobQueue, launcher: FakeLauncher) -> None:
    launcher.seconds = LONG
    run = add(queue)
    queue.dispatch()
    queue.terminate(run)
    assert not launcher.is_alive(run)
    with pytest.raises(RunError):
        queue.terminate(run)


def test_a_marker_is_removed_by_one_of_many(queue: JobQueue) -> None:
    run = add(queue)
    removed: list[bool] = []
    threads = [threading.Thread(target=lambda: removed.append(marker.remove_marker(run))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert removed.count(True) == 1
