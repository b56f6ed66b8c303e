"""A training and a prediction on a real Ray cluster of two nodes on this machine, one of which is killed meanwhile.

    python tests/support/ray_torture.py            one kill of each; a table in Markdown; needs the extra `ray`
    python tests/support/ray_torture.py --kills 3  that many trainings, each of which loses its node once
    python tests/support/ray_torture.py --kills 0 --predictions 3   that many predictions, each of which loses a node

In the end weights and losses must be those of an undisturbed training on this machine, to the bit, no step may be
missing or be counted twice, and nothing of the cluster may be left. A prediction must print the lines of an undisturbed
one on this machine, each once and in order. All of Ray listens on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil
import torch

from ftlab.models import weights_file
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Saved, Started
from ftlab.runs.jobs.launch import build_environment
from tests.support import drawn_images
from tests.support.ranks import free_port

EPOCHS = 12
MAX_TRAINING_SECONDS = 600
PICTURE_COUNT = 4000
STORE_BYTES = 100_000_000
TRAIN = (
    *("train", "--mode", "scratch", "--backbone", "timm/test_vit", "--optimizer", "adamw", "--schedule", "constant"),
    *("--epochs", str(EPOCHS), "--batch-size", "4", "--torch-num-threads", "1", "--device", "cpu"),
)


class RayCluster:
    """A head without a place for trainings, and nodes with one each."""

    def __init__(self) -> None:
        # Before Ray is imported: it would look for the head at this machine's outer address.
        os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.address = f"http://127.0.0.1:{(port := free_port())}"
        self._options = {
            "object_store_memory": STORE_BYTES,
            "node_ip_address": "127.0.0.1",
            "dashboard_agent_listen_port": 0,
        }
        head = {"num_cpus": 0, "include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": port}
        self._cluster: Any = importlib.import_module("ray.cluster_utils").Cluster(
            initialize_head=True, head_node_args={**head, **self._options}
        )
        self._nodes = [self._add_node() for _ in range(2)]

    def _add_node(self) -> Any:
        return self._cluster.add_node(num_cpus=1, **self._options)

    @property
    def gcs_address(self) -> str:
        """Where processes of this machine find the cluster."""
        return str(self._cluster.address)

    def kill_node_with(self, title: str) -> None:
        """Kill a node that has a process of this title, with all that it has started; a new one takes its place."""
        raylets = [psutil.Process(node.all_processes["raylet"][0].process.pid) for node in self._nodes]
        pids = [child.pid for raylet in raylets for child in raylet.children() if title in " ".join(child.cmdline())]
        assert pids, f"no node runs {title}"
        self.kill_node_of(pids[0])

    def kill_node_of(self, pid: int) -> None:
        """Kill the node whose process this is, with all that it has started, and put a new one in its place."""
        parents = {parent.pid for parent in psutil.Process(pid).parents()}
        (node,) = (node for node in self._nodes if node.all_processes["raylet"][0].process.pid in parents)
        self._nodes.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)
        self._nodes.append(self._add_node())

    def shutdown(self) -> None:
        self._cluster.shutdown()


@contextmanager
def open_cluster() -> Iterator[RayCluster]:
    cluster = RayCluster()
    try:
        yield cluster
    finally:
        cluster.shutdown()


class Bench:
    """Trainings on a few drawn pictures."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pictures = folder, drawn_images.tiny(folder / "pictures")
        self.undisturbed = self.start("undisturbed")

    def start(self, name: str, *flags: str) -> Run:
        """Run `train`, and return its run; with `--cluster` it has only begun then."""
        runs = self.folder / name
        done = subprocess.run(
            [sys.executable, "-m", "ftlab", *TRAIN, "--data", str(self.pictures), "--runs", str(runs), *flags],
            capture_output=True,
            text=True,
            env=build_environment(FTLAB_HOME=str(self.folder / f"{name} home")),
            timeout=MAX_TRAINING_SECONDS,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        (run_name,) = run_store.list_run_names(runs)
        return Run(runs / run_name)

    def train_disturbed(self, cluster: RayCluster, name: str) -> Run:
        """Train on the cluster, and kill the node of the rank once it has a checkpoint to go on from."""
        run = self.start(name, "--cluster", cluster.address)
        wait_until(
            lambda: any(
                isinstance(event, Saved) and event.what == "last" and event.step for event in run.read_events()[0]
            )
        )
        process = run.liveness.find_process()
        assert process is not None, "it has ended before its node could be killed"
        cluster.kill_node_of(process.pid)
        wait_until(lambda: not run.liveness.has_driver())
        return run

    def find_faults(self, run: Run) -> list[str]:
        """What differs from the undisturbed training."""
        weights, undisturbed = (
            weights_file.load_tensors(each.best_weights_path)[0] for each in (run, self.undisturbed)
        )
        is_identical = weights.keys() == undisturbed.keys() and all(
            torch.equal(tensor, undisturbed[key]) for key, tensor in weights.items()
        )
        faults = [] if is_identical else ["best weights"]
        losses, undisturbed_losses = (
            [(step.step, step.loss) for step in each.load_history().steps] for each in (run, self.undisturbed)
        )
        faults += [] if losses == undisturbed_losses else ["losses"]
        starts = [event.step for event in run.read_events()[0] if isinstance(event, Started)]
        faults += [] if len(starts) == 2 and starts[1] > 0 else [f"starts at {starts}"]
        faults += [] if run.liveness.get_status() == "finished" else [run.liveness.get_status()]
        return faults


class PredictionBench:
    """Predictions of many pictures with the model of an undisturbed training."""

    def __init__(self, bench: Bench) -> None:
        self.run, self.folder = bench.undisturbed, bench.folder / "many"
        self.folder.mkdir()
        sources = sorted(path for path in bench.pictures.rglob("*") if path.is_file())
        for number in range(PICTURE_COUNT):
            shutil.copy(source := sources[number % len(sources)], self.folder / f"{number:05d}{source.suffix}")
        self.undisturbed = self.finish(self.start("undisturbed.jsonl"), "undisturbed.jsonl")

    def start(self, output: str, *flags: str, **variables: str) -> subprocess.Popen[bytes]:
        """Begin to write answers to a file."""
        words = ("predict", self.run.name, str(self.folder), "--runs", str(self.run.path.parent), "--json", *flags)
        with (self.folder.parent / output).open("wb") as stream:
            return subprocess.Popen(
                [sys.executable, "-m", "ftlab", *words],
                stdout=stream,
                stderr=subprocess.DEVNULL,
                env=build_environment(PYTHONUNBUFFERED="1", **variables),
            )

    def finish(self, process: subprocess.Popen[bytes], output: str) -> list[str]:
        """Wait for the end, and return the answers."""
        assert process.wait(timeout=MAX_TRAINING_SECONDS) == 0
        return self.read_lines(output)

    def read_lines(self, output: str) -> list[str]:
        return (self.folder.parent / output).read_text(encoding="utf-8").splitlines()

    def predict_disturbed(self, cluster: RayCluster, name: str) -> tuple[int, list[str]]:
        """Predict on the cluster, and kill a node after the first answers: how many these were, and what differs."""
        process = self.start(f"{name}.jsonl", "--cluster", "auto", RAY_ADDRESS=cluster.gcs_address)
        wait_until(lambda: self.read_lines(f"{name}.jsonl") or process.poll() is not None)
        cluster.kill_node_with("BlockPredictor")
        count_at_kill = len(self.read_lines(f"{name}.jsonl"))
        lines = self.finish(process, f"{name}.jsonl")
        assert count_at_kill < PICTURE_COUNT, "it has ended before a node could be killed"
        answers, undisturbed = ([json.loads(line) for line in each] for each in (lines, self.undisturbed))
        files, expected_files = ([answer["file"] for answer in each] for each in (answers, undisturbed))
        faults = [] if files == expected_files else [f"{len(files)} answers, {len(set(files))} files"]
        return count_at_kill, faults + ([] if answers == undisturbed else ["answers"])


def kill_in_predictions(cluster: RayCluster, bench: PredictionBench, count: int) -> int:
    """Print a table of predictions, each of which loses a node, and return how many went wrong."""
    wrong_count = 0
    print(
        "\n| prediction | seconds | answers before the kill | differs from undisturbed |\n|---|---|---|---|", flush=True
    )
    for number in range(count):
        start_time = time.monotonic()
        count_at_kill, faults = bench.predict_disturbed(cluster, f"predicted-{number}")
        wrong_count += bool(faults)
        seconds, difference = time.monotonic() - start_time, ", ".join(faults) or "in nothing"
        print(f"| {number} | {seconds:.0f} | {count_at_kill} of {PICTURE_COUNT} | {difference} |", flush=True)
    return wrong_count


def wait_until(is_true: Any) -> None:
    """Wait for a training; `AssertionError` after too long."""
    deadline = time.monotonic() + MAX_TRAINING_SECONDS
    while not is_true():
        assert time.monotonic() < deadline, "the training takes too long"
        time.sleep(0.2)


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--kills", type=int, default=1)
    options.add_argument("--predictions", type=int, default=1)
    counts, wrong_count = options.parse_args(), 0
    print("| training | seconds | differs from undisturbed |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="ftlab-ray-") as folder, open_cluster() as cluster:
        bench = Bench(Path(folder))
        for number in range(counts.kills):
            start_time = time.monotonic()
            run = bench.train_disturbed(cluster, f"killed-{number}")
            faults = bench.find_faults(run)
            wrong_count += bool(faults)
            print(
                f"| {number} | {time.monotonic() - start_time:.0f} | {', '.join(faults) or 'in nothing'} |", flush=True
            )
            if faults:
                print(run.log_path.read_text(encoding="utf-8")[-4000:], file=sys.stderr)
        if counts.predictions:
            wrong_count += kill_in_predictions(cluster, PredictionBench(bench), counts.predictions)
    return 1 if wrong_count else 0


if __name__ == "__main__":
    sys.exit(main())
