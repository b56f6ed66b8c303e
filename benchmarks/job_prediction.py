"""Time of a training with one and with two ranks as `job_simulation` predicts it, relative to what it takes.

    python -m benchmarks.job_prediction --rounds 5

The costs of a rank come from short trainings that know nothing of each other: one alone on all cores, and as many at a
time as there will be ranks, each on its share of the cores. The cost of the exchange comes from adding up two sizes of
tensors between bare processes. From these, a longer training is predicted for each number of ranks, and run. More ranks
than cores are only reported.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from benchmarks.growth import TORCHRUN_ARGUMENTS
from benchmarks.job_simulation import Cluster, Job, RankCosts, simulate
from benchmarks.process import run_python
from benchmarks.rank_memory import run_training
from benchmarks.row import report_at_most
from ftlab.core.machine import count_cpu_cores
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Epoch, Started, Step
from ftlab.runs.jobs.launch import build_environment

MAX_ERROR = 0.15
CALIBRATION_EPOCHS = 3
"""The first one decodes the images; the costs are those of the others."""
_EXCHANGE_SIZES = (100_000, 10_000_000)
"""Bytes of the tensors that are added up: a latency and a bandwidth explain two times."""
_EXCHANGE_SCRIPT = """
import json, sys, time, torch, torch.distributed as dist
torch.set_num_threads(1)
dist.init_process_group("gloo")
seconds = []
for size in map(int, sys.argv[1:]):
    tensor = torch.ones(size // 4)
    times = []
    for _ in range(30):
        start = time.perf_counter()
        dist.all_reduce(tensor)
        tensor.fill_(1.0)
        times.append(time.perf_counter() - start)
    seconds.append(sorted(times)[len(times) // 2])
if dist.get_rank() == 0:
    print(json.dumps({"seconds": seconds}))
dist.destroy_process_group()
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--sample", default="shapes")
    parser.add_argument("--side", type=int, default=96, help="of the images, in pixels")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=10, help="of the training that is predicted")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    size = str(options.side)
    arguments = ["train", "--sample", options.sample, "--backbone", options.backbone, "--mode", "scratch", "--json"]
    arguments += ["--side", size, "--resize", size, "--batch-size", str(options.batch_size), "--compile", "no"]
    for rank_count in options.ranks:
        predictions, times = [], []
        for _ in range(options.rounds):
            costs, job = measure_costs(arguments, rank_count, options.batch_size)
            cluster = measure_exchange(rank_count)
            predictions.append(simulate(replace(job, epochs=options.epochs), costs, cluster).seconds)
            times.append(run_training([*arguments, "--epochs", str(options.epochs)], rank_count))
        predicted, measured = statistics.median(predictions), statistics.median(times)
        is_bound = rank_count <= count_cpu_cores()
        report_at_most(
            f"Simulated time of a training of {options.backbone} from scratch, {rank_count} ranks: "
            "relative error against the time it takes",
            abs(predicted / measured - 1),
            MAX_ERROR if is_bound else None,
            "",
            f"predicted {predicted:.1f} s, took {measured:.1f} s; {options.epochs} epochs, costs from "
            f"{CALIBRATION_EPOCHS}; medians of {options.rounds} rounds",
        )


def measure_costs(arguments: Sequence[str], process_count: int, batch_size: int) -> tuple[RankCosts, Job]:
    """Measure the costs of a process while as many of the same kind run at a time, each on its share of the cores.

    Args:
        arguments: of ftlab, beginning with `train`, without epochs and threads.
        process_count: processes at a time.
        batch_size: images of a step of all of them together.

    Returns:
        Their means, and the job that each has done.
    """
    threads = str(max(1, count_cpu_cores() // process_count))
    # A rank's steps have its part of the batch.
    command = [*arguments, "--epochs", str(CALIBRATION_EPOCHS), "--torch-num-threads", threads]
    command += ["--batch-size", str(batch_size // process_count)]
    with ThreadPoolExecutor(process_count) as pool:
        measured = list(pool.map(_measure_process, [command] * process_count))
    names = RankCosts.__dataclass_fields__
    means = {name: statistics.mean(getattr(costs, name) for costs, _ in measured) for name in names}
    return RankCosts(**means), replace(measured[0][1], step_images=batch_size)


def _measure_process(command: Sequence[str]) -> tuple[RankCosts, Job]:
    """Return the costs of one training, from the times of its events, and what it has done."""
    with tempfile.TemporaryDirectory() as scratch:
        start = time.time()
        result, seconds = run_python(
            ["-m", "ftlab", *command, "--runs", f"{scratch}/runs"], **build_environment(FTLAB_HOME=f"{scratch}/home")
        )
        events = Run(Path(result["path"])).read_events()[0]
    started = next(event for event in events if isinstance(event, Started))
    epochs = [event for event in events if isinstance(event, Epoch)]
    steps = [event for event in events if isinstance(event, Step)]
    assert any(isinstance(event, Ended) for event in events)
    training_seconds, validation_seconds, step_seconds = [], [], []
    for before, after in pairwise(epochs):
        times = [event.time for event in steps if before.step < event.step <= after.step]
        training_seconds.append(times[-1] - before.time)
        validation_seconds.append(after.time - times[-1])
        step_seconds.append([later - earlier for earlier, later in pairwise(times)])
    later_steps = [value for values in step_seconds[1:] for value in values]
    train_seconds = statistics.mean(training_seconds[1:])
    costs = RankCosts(
        start=epochs[0].time - start,
        first_epoch=training_seconds[0] - train_seconds,
        train_image=train_seconds / started.train_images,
        val_image=statistics.mean(validation_seconds) / started.val_images,
        end=start + seconds - epochs[-1].time,
        step_spread=statistics.pstdev(later_steps) / statistics.mean(later_steps),
    )
    return costs, Job("", started.train_images, started.val_images, CALIBRATION_EPOCHS, 0, 4 * started.total)


def measure_exchange(rank_count: int) -> Cluster:
    """Return this machine as a cluster of ranks: latency and bandwidth of an exchange between bare processes."""
    if rank_count == 1:
        return Cluster(1, 1e9, 0.0)
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch, "exchange.py")
        script.write_text(_EXCHANGE_SCRIPT, encoding="utf-8")
        launcher = [*TORCHRUN_ARGUMENTS, "--nproc-per-node", str(rank_count)]
        small, large = run_python([*launcher, str(script), *map(str, _EXCHANGE_SIZES)], **build_environment())[0][
            "seconds"
        ]
    message_count = 2 * (rank_count - 1)
    byte_difference = (_EXCHANGE_SIZES[1] - _EXCHANGE_SIZES[0]) / rank_count * message_count
    bandwidth = byte_difference / max(large - small, 1e-9)
    latency = max(0.0, small / message_count - _EXCHANGE_SIZES[0] / rank_count / bandwidth)
    return Cluster(rank_count, bandwidth, latency)


if __name__ == "__main__":
    main()
