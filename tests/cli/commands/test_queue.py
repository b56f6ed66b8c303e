"""`queue` lists who runs and who waits; with `--queue`, a training waits for its turn and runs in that very process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ftlab.cli import main
from ftlab.cli.common import queue_turn
from ftlab.config.train_config import TrainConfig
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.jobs.local_launcher import open_queue
from ftlab.runs.queue.job_queue import JobQueue
from tests.support import ROOT, fabricated_runs
from tests.support.fake_jobs import FakeLauncher, began
from tests.support.staged_jobs import until

Say = Callable[..., tuple[int, str, str]]


def wait_for(folder: Path, root: Path) -> subprocess.Popen[str]:
    """`train --queue` on a folder of pictures."""
    command = [
        *(sys.executable, "-m", "ftlab", "train", "--queue", "--data", str(folder), "--runs", str(root)),
        *("--mode", "scratch", "--backbone", "resnet18", "--image-size", "32", "--epochs", "1", "--json"),
    ]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    )


def queued(root: Path) -> Run | None:
    """The run that waits."""
    runs = (Run(root / name) for name in run_store.list_run_names(root))
    return next((run for run in runs if run.liveness.is_queued()), None)


def test_the_list_has_who_runs_and_then_who_waits_the_next_one_first(say: Say, tmp_path: Path) -> None:
    assert say("queue", "--runs", tmp_path) == (0, "Nothing is training, and nobody waits.\n", "")
    running = fabricated_runs.make_at_work(tmp_path)
    queue = open_queue(tmp_path)
    runs = [queue.add_training(TrainConfig(sample="shapes", device=device)) for device in ("cpu", "auto")]
    status, out, err = say("queue", "--runs", tmp_path)
    assert (status, err) == (0, "")
    header, *rows = [line.split() for line in out.splitlines()]
    assert header == ["place", "run", "status", "device", "about"]
    assert [row[:2] for row in rows] == [["–", running.name], ["1", runs[0].name], ["2", runs[1].name]]
    assert [row[0] for row in rows if "cpu" in row] == ["1"]
    answers = [json.loads(line) for line in say("queue", "--runs", tmp_path, "--json")[1].splitlines()]
    assert [(row["number"], row["run"], row["status"]) for row in answers] == [
        (0, running.name, "running"),
        (1, runs[0].name, "queued"),
        (2, runs[1].name, "queued"),
    ]
    status, out, _ = say("stop", runs[0].name, "--runs", tmp_path)
    assert (status, "was taken out of the queue before it began" in out) == (0, True)
    assert runs[0].liveness.get_status() == "stopped"


def test_a_training_waits_for_its_turn_telling_its_place_and_then_runs_in_that_process(
    tiny_folder: Path, tmp_path: Path
) -> None:
    root = tmp_path / "runs"
    other = fabricated_runs.make_at_work(root)
    with wait_for(tiny_folder, root) as process:
        until(lambda: queued(root))
        run = queued(root)
        assert run is not None
        assert process.stderr is not None
        assert "You are 1st" in process.stderr.readline()
        assert queued(root) is not None
        other.liveness.release_ownership()
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["reason"] == "finished"
    record = run.liveness.read_process_record()
    assert record is not None
    assert record.pid == process.pid
    assert run.liveness.get_status() == "finished"


def test_a_resume_waits_for_its_turn_too_and_goes_on_in_that_process(tiny_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    with wait_for(tiny_folder, root) as first:
        first.communicate()
    run = run_store.find_run(root, "latest")
    events = (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    stopped = events[-1].replace('"finished"', '"stopped"')
    (run.path / "metrics.jsonl").write_text("".join([*events[:-1], stopped]), encoding="utf-8")
    other = fabricated_runs.make_at_work(root)
    command = [sys.executable, "-m", "ftlab", "resume", run.name, "--queue", "--runs", str(root), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    ) as process:
        assert process.stderr is not None
        assert "You are 1st" in process.stderr.readline()
        assert run.liveness.get_status() == "queued"
        other.liveness.release_ownership()
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["reason"] == "finished"
    record = run.liveness.read_process_record()
    assert record is not None
    assert record.pid == process.pid


def test_a_training_that_is_stopped_while_it_waits_ends_in_one_line(tiny_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    fabricated_runs.make_at_work(root)
    with wait_for(tiny_folder, root) as process:
        until(lambda: queued(root))
        run = queued(root)
        assert run is not None
        open_queue(root).cancel(run)
        _, err = process.communicate()
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith(f"ftlab: Run {run.name} was taken out of the queue")


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C cannot be sent to one process there")
def test_ctrl_c_takes_it_out_of_the_queue(tiny_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    fabricated_runs.make_at_work(root)
    with wait_for(tiny_folder, root) as process:
        until(lambda: queued(root))
        run = queued(root)
        assert run is not None
        assert process.stderr is not None
        process.stderr.readline()  # it has begun to wait
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    assert run.liveness.get_status() == "stopped"


def test_it_starts_what_is_before_it_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_turn, "_POLL_SECONDS", 0.01)
    queue = JobQueue(tmp_path, FakeLauncher())
    monkeypatch.setattr(queue_turn, "open_queue", lambda _root: queue)
    first = queue.add_training(TrainConfig(sample="shapes"))
    run = queue_turn.wait_for_turn(tmp_path, TrainConfig(sample="shapes"))
    assert began(tmp_path) == [first.name]
    assert run.liveness.is_process_alive()


def test_several_processes_of_one_training_do_not_wait(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    for command in (("train", "--sample", "shapes"), ("resume", "latest")):
        status, _, err = say(*command, "--queue")
        assert (status, err.count("\n")) == (2, 1)
        assert "--queue waits in one process" in err


def test_the_folder_of_the_queue_is_named_by_a_flag(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTLAB_QUEUE_DIR", "")
    assert say("queue", "--runs", tmp_path, "--queue-dir", tmp_path / "disk")[0] == 0
    open_queue(tmp_path / "runs").add_training(TrainConfig(sample="shapes"))
    assert list((tmp_path / "disk").glob("queue-*.sqlite3"))
    assert main.build_parser().parse_args(["train", "--queue-dir", "x"]).queue_dir == "x"
