"""Trainings that are killed, or whose disk fails, at every point where something is written, and at random moments.

    python tests/support/torture.py                the whole table, in Markdown
    python tests/support/torture.py --kills 10     that many random moments; --no-points leaves the rest out; --json
    python tests/support/torture.py --every 2      half of the points, in each way the other half
    python tests/support/torture.py --distinct     without those that leave the disk as another one does

Each is resumed until it is finished, and must then be the undisturbed one to the bit: best weights, last state and
history.
It forks, so it runs on Linux and macOS. Nothing is computed before a fork: OpenMP's threads would not survive it.
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import functools
import gc
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import timm  # noqa: F401 (what the children need is imported once, here)
from safetensors import SafetensorError

from ftlab.cli.common import train_process
from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.models import weights_file
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.training import loop
from ftlab.training.checkpoints import checkpoint
from tests.support import drawn_images
from tests.support.tiny_backbone import TINY

WAYS: dict[str, dict[str, Any]] = {
    "full": {"mode": "full", "learning_rate": 1e-3},
    "scratch": {"mode": "scratch"},
    "frozen": {"mode": "frozen"},
    "frozen, fresh pictures": {"mode": "frozen", "features": "fresh"},
    "two phases with a memory": {
        **{
            "mode": "full",
            "learning_rate": 1e-3,
            "unfreeze_epoch": 1,
            "gradual_unfreezing": True,
            "phase2_optimizer": "rmsprop",
        },
        **{"schedule": "plateau", "plateau_mode": "previous", "plateau_patience": 0, "ema_decay": 0.9, "mixup": 0.4},
        **{
            "cutmix": 1.0,
            "grad_accum_steps": 2,
            "grad_clip_norm": 1.0,
            "sampling": "balanced",
            "dropout": 0.2,
            "save_every_epochs": 1,
        },
    },
}
CALLS = {
    "write_text": "a text file",
    "append": "an event",
    "save_file": "weights or a state",
    "fsync": "fsync",
    "replace": "a rename",
}
HOW = {
    "before": "killed before it",
    "torn": "killed in its middle",
    "unnamed": "killed before the library's own rename",
    "after": "killed after it",
    "full": "the disk is full",
}


@dataclass(frozen=True)
class Point:
    """A place in a training: the `number`-th call of a function that writes, and what happens there (see `HOW`)."""

    call: str
    number: int
    how: str


class Writes:
    """The functions through which all that a run keeps is written: counted, and disturbed at a point."""

    def __init__(self, point: Point | None) -> None:
        self.point, self.counts = point, Counter[str]()
        self.put("write_text", Path, "write_text", OSError(errno.ENOSPC, "No space left on device"))
        self.put("append", Run, "append_event", OSError(errno.ENOSPC, "No space left on device"))
        # A killed process loses nothing of what it gave to the system, so waiting for the disk would show nothing here.
        os.fsync = lambda fd: None  # noqa: ARG005
        self.put("fsync", os, "fsync", OSError(errno.ENOSPC, "No space left on device"))
        self.put("replace", os, "replace", OSError(errno.ENOSPC, "No space left on device"))
        self.put("save_file", weights_file, "save_file", SafetensorError("No space left on device (os error 28)"))

    def put(self, call: str, home: Any, name: str, full: Exception) -> None:
        real = getattr(home, name)

        @functools.wraps(real)
        def disturbed(*given: Any, **more: Any) -> Any:
            self.counts[call] += 1
            here = self.point and (self.point.call, self.point.number) == (call, self.counts[call])
            how = self.point.how if self.point and here else ""
            if how == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "full":
                if call == "append":  # as the method itself tells it
                    with given[0].translate_write_errors():
                        raise full
                raise full
            told = real(*given, **more)
            if how == "torn":
                _tear(call, given)
            if how == "unnamed":  # safetensors has written its hidden file, and not yet renamed it
                Path(given[1]).rename(Path(given[1]).with_name(".tmpAb3dE6"))
            if how:
                os.kill(os.getpid(), signal.SIGKILL)
            return told

        setattr(home, name, disturbed)


def _tear(call: str, given: tuple[Any, ...]) -> None:
    """Only a part of what was to be written has reached the file."""
    if call == "append":
        file = given[0].path / "metrics.jsonl"
        whole = file.read_bytes()
        last = whole.rstrip(b"\n").rfind(b"\n") + 1
        os.truncate(file, last + (len(whole) - last) // 2)
    else:
        file = given[1] if call == "save_file" else given[0]
        os.truncate(file, Path(file).stat().st_size // 2)


def points(counts: dict[str, int], *, distinct: bool = False) -> list[Point]:
    """Every call that a training makes, disturbed in each way that it can be.

    The distinct ones: a process that is killed after a call leaves what one leaves that is killed before the next, and
    `fsync` changes nothing that a killed process leaves. After a rename it is killed all the same: from then on the new
    file counts.
    """
    only_at = {"torn": ("append", "save_file", "write_text"), "unnamed": ("save_file",)}
    ways = {call: [how for how in HOW if call in only_at.get(how, counts)] for call in counts}
    if distinct:
        ways["fsync"] = ["full"]
        ways |= {call: [how for how in ways[call] if how != "after"] for call in counts if call != "replace"}
    return [
        Point(call, number, how)
        for call, count in counts.items()
        for number in range(1, count + 1)
        for how in ways[call]
    ]


def child(run: Run, point: Point | None = None, told: int | None = None) -> int:
    """Train, or go on, in a process of its own; its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        with run.log_path.open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        writes = Writes(point)
        train_process.run_training(run, run.load_config())
        if told is not None:
            os.write(told, json.dumps(writes.counts).encode())
        status = 0
    except FtlabError as mistake:
        print(f"ftlab: {mistake}", file=sys.stderr, flush=True)
        status = 2
    except Exception:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def ended(pid: int) -> int:
    """How a process ended: its exit status, or the signal's number below zero."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def result(run: Run) -> tuple[bytes, bytes, list[dict[str, Any]]]:
    """All that must be equal: best weights, last state, and what was measured."""
    history = run.load_history()
    clock = ("time", "seconds", "images_per_second")
    rows = [dataclasses.asdict(event) for event in [*history.epochs, *history.steps]]
    return (
        run.best_weights_path.read_bytes(),
        run.last_checkpoint_path.read_bytes(),
        [{k: row[k] for k in row if k not in clock} for row in rows],
    )


class Bench:
    """Trainings on a few drawn pictures, each compared with the undisturbed one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pictures = drawn_images.tiny(folder / "pictures")
        self.whole: dict[str, tuple[Any, float, dict[str, int]]] = {}

    def begin(self, way: str, epochs: int, workers: int = 1) -> Run:
        few: dict[str, Any] = {
            "epochs": epochs,
            "batch_size": 10,
            "torch_num_threads": 1,
            "num_workers": workers,
            "device": "cpu",
        }
        settings = TrainConfig(data=str(self.pictures), backbone=TINY.name, **few, **WAYS[way])
        return run_store.create_run(self.folder / "runs", settings)

    def undisturbed(self, way: str, epochs: int) -> tuple[Any, float, dict[str, int]]:
        """Its result, the seconds that it took, and its calls."""
        key = f"{way} {epochs}"
        if key not in self.whole:
            run = self.begin(way, epochs)
            read, write = os.pipe()
            began = time.monotonic()
            assert ended(child(run, told=write)) == 0, run.log_path.read_text()
            seconds = time.monotonic() - began
            self.whole[key] = result(run), seconds, json.loads(os.read(read, 65536))
            for end in (read, write):
                os.close(end)
        return self.whole[key]

    def same(self, run: Run, way: str, epochs: int) -> str:
        """Finish a run; empty if it is then the undisturbed one, else what differs."""
        for _ in range(2):
            if run.liveness.get_status() != "finished" and (status := ended(child(run))):
                return f"the resume ended with {status}: {run.log_path.read_text()[-500:]}"
        wanted, found = self.undisturbed(way, epochs)[0], result(run)
        names = ("best weights", "last state", "history")
        left = [file.name for file in run.path.rglob("*") if file.suffix == ".part" or file.name.startswith(".")]
        return ", ".join([n for n, a, b in zip(names, wanted, found, strict=True) if a != b] + left)

    def at_points(self, way: str, every: int, *, distinct: bool) -> Iterator[tuple[str, str]]:
        """Each point of a short training, or of each `every` of them one: its group in the table, and what went wrong,
        if anything did."""
        for point in points(self.undisturbed(way, 1)[2], distinct=distinct):
            if (point.number + list(HOW).index(point.how)) % every:
                continue
            run = self.begin(way, 1)
            status = ended(child(run, point))
            wrong = ""
            if point.how == "full":
                said = run.log_path.read_text().strip().splitlines()
                if status != 2 or "No space left" not in said[-1]:
                    wrong = f"ended with {status}: {said[-3:]}"
            elif status != -signal.SIGKILL:
                wrong = f"ended with {status}"
            yield f"{CALLS[point.call]}, {HOW[point.how]}", wrong or self.same(run, way, 1)

    def at_random(self, way: str, kills: int, dice: random.Random) -> tuple[int, str]:
        """A longer training that is killed again and again at random moments: the kills that met it, and what went
        wrong."""
        epochs, met = 8, 0
        seconds = self.undisturbed(way, epochs)[1]
        while met < kills:
            run = self.begin(way, epochs, workers=dice.choice((1, 2, 3)))
            while met < kills and run.liveness.get_status() != "finished":
                pid = child(run)
                time.sleep(dice.uniform(0, 0.7 * seconds))
                os.kill(pid, signal.SIGKILL)
                met += ended(pid) == -signal.SIGKILL
            wrong = self.same(run, way, epochs)
            if wrong:
                return met, wrong
        return met, ""


def prepare(save_often: Callable[[str, float], None]) -> None:
    """The tiny network, random weights in place of pretrained ones, and a state saved after each step; what every child
    would load for itself is loaded."""
    messages.load_messages(messages.current_language())
    gc.freeze()  # a child that looked through all of it for garbage would get a copy of all of it
    backbones.BACKBONES[TINY.name] = TINY
    loop.train = functools.partial(loop.train, pretrained=False)
    save_often("SAVE_INTERVAL_FACTOR", 0.0)
    save_often("MID_EPOCH_SAVE_SECONDS", 0.0)


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--points", action=argparse.BooleanOptionalAction, default=True)
    options.add_argument("--every", type=int, default=1)
    options.add_argument("--distinct", action="store_true")
    options.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    prepare(lambda name, value: setattr(checkpoint, name, value))
    tried, wrong = Counter[str](), dict[str, list[str]]()

    def tell(group: str, fault: str, count: int = 1) -> None:
        tried[group] += count
        if fault:
            wrong.setdefault(group, []).append(fault)

    with tempfile.TemporaryDirectory(prefix="ftlab-torture-") as folder:
        bench, dice = Bench(Path(folder)), random.Random(chosen.seed)
        for number, way in enumerate(chosen.ways):
            kills = (chosen.kills + number) // len(chosen.ways)
            if kills:
                met, fault = bench.at_random(way, kills, dice)
                tell(f"at a random moment, {way}", fault, met)
        if chosen.points:
            for way in chosen.ways:
                for group, fault in bench.at_points(way, chosen.every, distinct=chosen.distinct):
                    tell(group, fault)
    if chosen.json:
        print(json.dumps({"tried": tried, "wrong": wrong}))
    else:
        print("| where | how often | identical afterwards |\n|---|---|---|")
        for group, count in tried.items():
            print(f"| {group} | {count} | {count - len(wrong.get(group, []))} |")
        for group, faults in wrong.items():
            print(f"{group}: {faults[:3]}", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
