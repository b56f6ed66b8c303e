"""Full fine-tuning from the second epoch on, relative to the same steps on data in memory.

    python -m benchmarks.full_speed FOLDER --backbone mobilenet_v2 --rounds 5

A is an epoch of ftlab's training, after the validation of the epoch before: images from the in-memory cache, which the
first epoch filled, cropped anew, normalized, an optimizer step, loss and accuracy summed. B is the same steps on one
batch of noise that is on the device already. Both have the same network, optimizer and number of images, and run in
turn; printed are images per second, by wall clock and by CPU time, and the medians of the rounds' ratios A / B.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.row import report_at_least
from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.data.transforms import preprocess
from ftlab.runs import run_store
from ftlab.training import network_setup, setup
from ftlab.training.checkpoints.checkpoint import TrainState
from ftlab.training.compile import ModelCompiler
from ftlab.training.devices import device_setup
from ftlab.training.feeds.base import RankBatch
from ftlab.training.feeds.gpu_images import create_image_feed
from ftlab.training.metrics import BatchedMetricSums, MetricSums
from ftlab.training.train_step import TrainStep


def main() -> None:
    """Measure; print a line of JSON per round and the row at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder of pictures")
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=0, help="of an epoch (default: all)")
    parser.add_argument("--settings", type=json.loads, default={}, help='further settings, as {"optimizer": "sgd"}')
    options = parser.parse_args()
    with TemporaryDirectory() as scratch:
        benchmark = FullSpeedBenchmark(Path(scratch), options)
        benchmark.run_validation()
        benchmark.time_steps(benchmark.image_batches(1))  # fills the image cache, and warms up
        rounds = []
        for epoch in range(2, options.rounds + 2):
            # In turn, so that a slow phase of the machine hits both.
            noise_seconds = benchmark.time_steps(benchmark.noise_batches())
            benchmark.run_validation()
            timings = {"A": benchmark.time_steps(benchmark.image_batches(epoch)), "B": noise_seconds}
            rounds.append([b / a for a, b in zip(timings["A"], timings["B"], strict=True)])
            images_per_second = {
                name: [round(benchmark.image_count / sample, 2) for sample in pair] for name, pair in timings.items()
            }
            print(json.dumps(images_per_second), flush=True)
        benchmark.feed.close()
        ratio, cpu_ratio = (round(statistics.median(sample), 3) for sample in zip(*rounds, strict=True))
        benchmark.facts["compile"] = benchmark.run.load_resolved_config().compile
    facts = ", ".join(f"{name} {value}" for name, value in benchmark.facts.items())
    details = f"of the processor's time {cpu_ratio:.2f}; "
    details += f"batches of {options.batch_size}, {benchmark.image_count} pictures, {facts}"
    title = f"Full fine-tuning of {options.backbone}, from the second epoch: "
    title += "speed relative to the same steps on data in memory"
    report_at_least(title, ratio, 0.95, "×", details)


class FullSpeedBenchmark:
    """A network in training, and its batches."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        """Set up a training as `ftlab train` does, in `folder`."""
        settings = {"mode": "full", "backbone": options.backbone, "batch_size": options.batch_size}
        # CUDA graphs, as a training on a GPU chooses; elsewhere `record` resolves to `no`.
        settings = {**settings, "compile": "record", "epochs": options.rounds + 2, **options.settings}
        config = TrainConfig(data=options.data, **settings)
        run = run_store.create_run(folder, config)
        self.accelerator = device_setup.create_accelerator(config)
        self.config, _ = setup.resolve_config(config, run, self.accelerator)
        catalog = setup.load_catalog(self.config, run, self.accelerator)
        spec = backbones.get_backbone_spec(self.config.backbone)
        self.preprocessing = preprocess.from_config(spec, self.config)
        net = network_setup.build_network(
            self.config, run, catalog, self.preprocessing, self.accelerator, pretrained=False, epoch=1
        )
        self.feed = create_image_feed(catalog, self.preprocessing, self.config, self.accelerator)
        self.train_step = TrainStep(net, spec, self.config, self.accelerator, TrainState(), self.feed)
        # A generator of events: exhausted, it has done its work.
        list(self.train_step.begin_epoch(1, TrainState()))
        self.compiler = ModelCompiler(self.train_step, self.config, run, self.accelerator)
        self.step, self.run = 0, run
        train_image_count = len(catalog.splits["train"])
        self.step_count = (options.pictures or train_image_count) // options.batch_size
        self.image_count = self.step_count * options.batch_size
        self.facts: dict[str, Any] = {
            "device": device_setup.describe_device(self.accelerator.device),
            "threads": torch.get_num_threads(),
            "MB_for_pictures": self.config.image_cache_mb,
        }

    def image_batches(self, epoch: int) -> Iterator[RankBatch]:
        """Yield the batches of an epoch, as a training gets them."""
        yield from islice(self.feed.iter_train_batches(epoch), self.step_count)

    def run_validation(self) -> None:
        """Iterate over the validation images, and wait for the device."""
        for batch in self.feed.iter_eval_batches("val"):
            float(batch.inputs.sum())

    def noise_batches(self) -> Iterator[RankBatch]:
        """Yield as many steps on a single batch of noise, with other labels each time.

        A batch whose labels are known by heart gives gradients next to zero, and CPUs compute slowly with denormal
        numbers.
        """
        batch_size, side = self.config.batch_size or 1, self.preprocessing.side
        device = self.accelerator.device
        inputs = torch.randn(batch_size, 3, side, side, device=device)
        labels = torch.arange(batch_size, device=device) % self.feed.class_count
        batch = RankBatch(inputs, labels, torch.ones(batch_size, device=device), batch_size, [])
        for offset in range(self.step_count):
            yield dataclasses.replace(batch, labels=(labels + offset) % self.feed.class_count)

    def time_steps(self, batches: Iterator[RankBatch]) -> tuple[float, float]:
        """Run the optimizer steps of an epoch.

        Args:
            batches: batches of the epoch.

        Returns:
            Seconds by wall clock, and of CPU time.
        """
        metric_sums = MetricSums(self.accelerator.device)
        batched_sums = BatchedMetricSums(metric_sums)
        start, cpu_start = time.perf_counter(), time.process_time()
        for batch in batches:
            self.train_step.set_learning_rates(self.step, TrainState())
            # As in the training loop: the first steps decide and capture, later ones replay.
            list(self.compiler.maybe_compile(batch, TrainState(epoch=1)))
            logits, _ = self.train_step.forward_backward(batch, self.step)
            self.train_step.step(self.step)
            batched_sums.add_batch(logits, batch.labels, batch.sample_weights)
            self.step += 1
        batched_sums.flush()
        assert metric_sums.compute_metrics(self.accelerator).image_count == self.image_count  # waits for the device too
        return time.perf_counter() - start, time.process_time() - cpu_start


if __name__ == "__main__":
    main()
