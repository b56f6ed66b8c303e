"""Discrete simulation of one training on many ranks: what it takes, what it moves, and what the ranks wait for.

    python -m benchmarks.job_simulation

prints the tables of docs/scale.md. Epoch by epoch, every rank reads its shards and computes its part of every step; a
step ends when the slowest rank has ended and gradients are exchanged; ranks fail at random, and all of them go on from
the last checkpoint. Costs of a rank are measured: `benchmarks.job_prediction` measures them on this machine and
compares the prediction with a training. The speed of network and storage and the rate of failures are assumed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

SAVE_SECONDS_BETWEEN = 60.0
"""Training between two checkpoints within an epoch, as ftlab saves them (`training/checkpoints/checkpoint.py`)."""
CATALOG_BYTES_PER_IMAGE = 6_000
"""Memory of a process for each image of a folder: 0.6 GB for 100,000 (docs/benchmarks.md). Shards are not listed."""


@dataclass(frozen=True)
class RankCosts:
    """Measured costs of one rank, in seconds.

    Attributes:
        start: from the start of the process to the end of the untrained network's validation.
        first_epoch: what the first epoch takes more than the others.
        train_image: a training image, forward and backward, with its share of the optimizer's step.
        val_image: a validation image.
        end: from the last epoch to the end of the process.
        step_spread: standard deviation of a step's time, relative to its mean.
    """

    start: float
    first_epoch: float
    train_image: float
    val_image: float
    end: float
    step_spread: float


@dataclass(frozen=True)
class Job:
    """A training.

    Attributes:
        name: of the job.
        train_images, val_images: numbers of images.
        epochs: number of epochs.
        step_images: images of a step, over all ranks.
        gradient_bytes: of all parameters.
        image_bytes: of an image as it is stored.
        shard_images: images of a shard; 0 if each image is a file of its own.
    """

    name: str
    train_images: int
    val_images: int
    epochs: int
    step_images: int
    gradient_bytes: int
    image_bytes: int = 0
    shard_images: int = 0


@dataclass(frozen=True)
class Cluster:
    """Machines and what connects them.

    Attributes:
        rank_count: number of ranks.
        network_bytes_per_second: of one rank to another.
        network_latency: seconds of a message.
        storage_bytes_per_second: of the storage, for all ranks together; infinite if all images are in memory.
        overlap: share of a step's computation during which gradients are exchanged: DDP sends those of the last layers
            while the backward pass goes on; 0 where the exchange needs the same cores.
        hours_between_failures: of one rank.
        restart: seconds from a failure until all ranks compute again, over the start of a process.
        slow_rank_share: share of the ranks that are slower than the others.
        slow_rank_factor: times the seconds of the others.
    """

    rank_count: int
    network_bytes_per_second: float
    network_latency: float
    storage_bytes_per_second: float = math.inf
    overlap: float = 0.0
    hours_between_failures: float = math.inf
    restart: float = 0.0
    slow_rank_share: float = 0.0
    slow_rank_factor: float = 1.0

    def compute_exchange_seconds(self, byte_count: int) -> float:
        """Return the seconds in which all ranks add up their gradients, sent in a ring.

        Patarasuk and Yuan, 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations", section 3.

        Args:
            byte_count: of the gradients.
        """
        messages = 2 * (self.rank_count - 1)
        seconds_per_message = self.network_latency + byte_count / self.rank_count / self.network_bytes_per_second
        return messages * seconds_per_message


@dataclass(frozen=True)
class Outcome:
    """Duration of a job, and the mean seconds of it that a rank spent in each way.

    Attributes:
        seconds: from the start to the end.
        computing: training steps.
        waiting: for slower ranks, or for ranks with more images.
        reading: for images that had not arrived.
        exchanging: gradients, beyond what goes on beside the backward pass.
        validating: validation.
        lost: to failures: steps that were computed again, and restarts.
        failures: number of them.
        read_bytes: by all ranks together.
        sent_bytes: gradients, by each rank.
    """

    seconds: float
    computing: float
    waiting: float
    reading: float
    exchanging: float
    validating: float
    lost: float
    failures: int
    read_bytes: float
    sent_bytes: float


def simulate(job: Job, costs: RankCosts, cluster: Cluster, seed: int = 0) -> Outcome:
    """Simulate a job.

    Args:
        job: the training.
        costs: of each rank.
        cluster: where it runs.
        seed: of everything random.

    Returns:
        What it took.
    """
    generator = np.random.default_rng(seed)
    rank_count = cluster.rank_count
    slow_count = round(cluster.slow_rank_share * rank_count)
    factors = np.where(np.arange(rank_count) < slow_count, cluster.slow_rank_factor, 1.0)
    exchange = cluster.compute_exchange_seconds(job.gradient_bytes)
    parts = dict.fromkeys(("computing", "waiting", "reading", "exchanging"), 0.0)
    step_count = math.ceil(job.train_images / job.step_images)
    for _ in range(job.epochs):
        rank_images = deal_images(job, rank_count, generator)
        # A rank with more images has more of them in each step: all ranks take the same number of steps.
        means = rank_images / step_count * costs.train_image * factors
        compute = means * draw_step_factors(costs.step_spread, (step_count, rank_count), generator)
        reading_seconds = rank_images / step_count * job.image_bytes * rank_count / cluster.storage_bytes_per_second
        ready = np.maximum(compute, reading_seconds)
        parts["computing"] += float(compute.mean(1).sum())
        parts["reading"] += float((ready - compute).mean(1).sum())
        parts["waiting"] += float((ready.max(1) - ready.mean(1)).sum())
        parts["exchanging"] += float(np.maximum(exchange - cluster.overlap * ready.max(1), 0.0).sum())
    validating = job.epochs * job.val_images * costs.val_image / rank_count
    productive = costs.start + costs.first_epoch + sum(parts.values()) + validating + costs.end
    failures, lost = draw_failures(productive, cluster, costs.start, generator)
    return Outcome(
        seconds=productive + lost,
        **parts,
        validating=validating,
        lost=lost,
        failures=failures,
        read_bytes=float(job.epochs * job.train_images * job.image_bytes),
        sent_bytes=job.epochs * step_count * 2 * (rank_count - 1) / rank_count * job.gradient_bytes,
    )


def deal_images(job: Job, rank_count: int, generator: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the training images of each rank in an epoch: whole shards in random order, or single images.

    Args:
        job: the training.
        rank_count: number of ranks.
        generator: draws the order of the shards.

    Returns:
        float64 [R].
    """
    if not job.shard_images:
        return np.full(rank_count, job.train_images / rank_count)
    shard_count = math.ceil(job.train_images / job.shard_images)
    sizes = np.full(shard_count, float(job.shard_images))
    sizes[-1] = job.train_images - (shard_count - 1) * job.shard_images
    order = generator.permutation(shard_count)
    rank_images = np.zeros(rank_count)
    np.add.at(rank_images, np.arange(shard_count) % rank_count, sizes[order])
    return rank_images


def draw_step_factors(
    spread: float, shape: tuple[int, int], generator: np.random.Generator
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Draw by how much each step is longer than the mean: log-normal, so that no step is negative, with mean 1.

    Args:
        spread: standard deviation.
        shape: steps and ranks.
        generator: of random numbers.

    Returns:
        float64 of that shape.
    """
    variance = math.log1p(spread**2)
    return generator.lognormal(-variance / 2, math.sqrt(variance), shape)


def draw_failures(
    productive: float, cluster: Cluster, start: float, generator: np.random.Generator
) -> tuple[int, float]:
    """Draw the failures of a job: any rank's ends the attempt of all, which go on from the last checkpoint.

    Args:
        productive: seconds of the job without failures.
        cluster: its ranks.
        start: seconds of a process's start.
        generator: of random numbers.

    Returns:
        Number of failures, and the seconds lost to them.
    """
    seconds_between = cluster.hours_between_failures * 3600 / cluster.rank_count
    failures, done, lost = 0, 0.0, 0.0
    while math.isfinite(seconds_between):
        worked = float(generator.exponential(seconds_between))
        if done + worked >= productive:
            break
        since_checkpoint = worked % SAVE_SECONDS_BETWEEN
        done += worked - since_checkpoint
        lost += since_checkpoint + cluster.restart + start
        failures += 1
    return failures, lost


# ResNet-50 with batches of 128 a rank, in bfloat16, from the second epoch on one NVIDIA H200: 3,720 images a second
# (docs/benchmarks.md); MobileNetV2 on two cores of a server CPU: 30 images a second.
GPU_COSTS = RankCosts(start=30.0, first_epoch=20.0, train_image=1 / 3720, val_image=1 / 9000, end=5.0, step_spread=0.03)
CPU_COSTS = RankCosts(start=6.0, first_epoch=3.0, train_image=1 / 30, val_image=1 / 80, end=1.0, step_spread=0.05)
IMAGENET = Job("ImageNet-1k, ResNet-50, 90 epochs", 1_281_167, 50_000, 90, 128, 102_000_000, 110_000, 1_000)
BILLION = Job("A billion images, ResNet-50, 3 epochs", 1_000_000_000, 50_000, 3, 128, 102_000_000, 50_000, 10_000)
ASSUMED = Cluster(1, 12.5e9, 20e-6, 20e9, overlap=0.6, hours_between_failures=5_000, restart=60.0)
"""100 Gbit/s between ranks, storage of 20 GB/s, a failure of a rank in seven months: assumed, not measured."""


TABLE_HEADER = (
    "| ranks | hours | computing | exchange | reading | waiting | lost | failures | read | sent by a rank |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Print the tables."""
    for job, rank_counts in ((IMAGENET, (1, 8, 32, 128)), (BILLION, (32, 128, 512))):
        print(f"\n{job.name}\n\n{TABLE_HEADER}")
        for rank_count in rank_counts:
            print(simulate_row(job, replace(ASSUMED, rank_count=rank_count), str(rank_count)))
    print(f"\nImageNet-1k with one thing changed\n\n{TABLE_HEADER}")
    few = replace(ASSUMED, rank_count=32)
    print(simulate_row(IMAGENET, replace(few, network_bytes_per_second=1.25e9), "32, 10 Gbit/s"))
    print(simulate_row(IMAGENET, replace(few, storage_bytes_per_second=2e9), "32, storage of 2 GB/s"))
    slow = replace(few, slow_rank_share=1 / 32, slow_rank_factor=1.5)
    print(simulate_row(IMAGENET, slow, "32, one takes 1.5 times as long"))
    print(simulate_row(replace(IMAGENET, shard_images=30_000), few, "32, 43 shards"))
    print(simulate_row(IMAGENET, replace(few, hours_between_failures=2), "32, each fails every 2 hours"))
    one_epoch = replace(IMAGENET, epochs=1, step_images=32)
    seconds = simulate(one_epoch, CPU_COSTS, Cluster(1, math.inf, 0.0)).seconds
    print(f"\nAn epoch of ImageNet-1k with MobileNetV2 on two cores: {seconds / 3600:.1f} hours")


def simulate_row(job: Job, cluster: Cluster, label: str) -> str:
    """Simulate a job on GPUs, with `job.step_images` images of a step on each rank; return a row of the table.

    Args:
        job: the training.
        cluster: where it runs.
        label: first cell of the row.

    Returns:
        The row.
    """
    scaled = replace(job, step_images=job.step_images * cluster.rank_count)
    return format_outcome(simulate(scaled, GPU_COSTS, cluster), label)


def format_outcome(outcome: Outcome, label: str) -> str:
    """Return a row of a Markdown table: hours, shares of them, and bytes."""
    shares = (outcome.computing, outcome.exchanging, outcome.reading, outcome.waiting, outcome.lost)
    cells = [label, f"{outcome.seconds / 3600:.1f}", *(f"{share / outcome.seconds:.1%}" for share in shares)]
    cells += [f"{outcome.failures}", f"{outcome.read_bytes / 1e12:.1f} TB", f"{outcome.sent_bytes / 1e12:.1f} TB"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
