"""Full fine-tuning from the second epoch on, against the same steps on data in memory.

    python -m benchmarks.full_speed FOLDER --backbone mobilenet_v2 --rounds 5

A is an epoch of ftlab's training, after the validation of the one before: pictures from memory, where the first epoch
put them, cropped anew, normalised, a step of the optimizer, its loss and accuracy added up. B is the same steps on one
batch of noise that lies on the device already. Both have the same network, optimizer and number of pictures, and go in
turn; printed are images per second, by the clock and of the processor's time, and the medians of the rounds' ratios
A / B.
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

from benchmarks.row import at_least
from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.data.transforms import preprocess
from ftlab.runs import run_store
from ftlab.training import setup
from ftlab.training.checkpoints.checkpoint import Position
from ftlab.training.compile import Compiler
from ftlab.training.devices import device_setup
from ftlab.training.feeds.base import Share
from ftlab.training.feeds.images import PictureFeed
from ftlab.training.metrics import Tally, Together
from ftlab.training.train_step import Learner


def main() -> None:
    """Measure, and print a line of JSON a round and one in the end."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", help="folder of pictures")
    asked.add_argument("--backbone", default="mobilenet_v2")
    asked.add_argument("--batch-size", type=int, default=16)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--pictures", type=int, default=0, help="of an epoch (default: all)")
    asked.add_argument("--knobs", type=json.loads, default={}, help='further knobs, as {"optimizer": "sgd"}')
    options = asked.parse_args()
    with TemporaryDirectory() as place:
        bench = Bench(Path(place), options)
        bench.validate()
        bench.seconds(bench.pictures(1))  # what is decoded is kept from here on, and what warms up is warm
        rounds = []
        for number in range(2, options.rounds + 2):
            noise = bench.seconds(bench.noise())
            bench.validate()
            took = {"A": bench.seconds(bench.pictures(number)), "B": noise}
            rounds.append([b / a for a, b in zip(took["A"], took["B"], strict=True)])
            told = {name: [round(bench.count / one, 2) for one in pair] for name, pair in took.items()}
            print(json.dumps(told), flush=True)
        bench.feed.close()
        ratio, cpu = (round(statistics.median(one), 3) for one in zip(*rounds, strict=True))
        bench.facts["compile"] = bench.run.resolved().compile
    facts = ", ".join(f"{name} {value}" for name, value in bench.facts.items())
    seen = f"of the processor's time {cpu:.2f}; batches of {options.batch_size}, {bench.count} pictures, {facts}"
    what = f"Full {options.backbone} from the second epoch, by the same steps on data in memory"
    at_least(what, ratio, 0.95, "×", seen)


class Bench:
    """A network that learns, and what it learns from."""

    def __init__(self, place: Path, options: argparse.Namespace) -> None:
        knobs = {"mode": "full", "backbone": options.backbone, "batch_size": options.batch_size}
        # Recorded, as a training on a card decides; elsewhere it is no.
        knobs = {**knobs, "compile": "record", "epochs": options.rounds + 2, **options.knobs}
        config = TrainConfig(data=options.data, **knobs)
        run = run_store.create(place, config)
        self.accelerator = device_setup.open_device(config)
        self.config, _ = setup.fix(config, run, self.accelerator)
        found = setup.catalog(self.config, run, self.accelerator)
        row = backbones.get(self.config.backbone)
        self.prep = preprocess.chosen(row, self.config)
        net = setup.build(self.config, run, found, self.prep, self.accelerator, False, 1)
        self.feed = PictureFeed(found, self.prep, self.config, self.accelerator)
        self.learner = Learner(net, row, self.config, self.accelerator, Position(), self.feed)
        list(self.learner.enter(1, Position()))
        self.compiler = Compiler(self.learner, self.config, run, self.accelerator)
        self.step, self.run = 0, run
        every = len(found.splits["train"])
        self.steps = (options.pictures or every) // options.batch_size
        self.count = self.steps * options.batch_size
        self.facts: dict[str, Any] = {
            "device": device_setup.name(self.accelerator.device),
            "threads": torch.get_num_threads(),
            "MB_for_pictures": self.config.keep_decoded,
        }

    def pictures(self, epoch: int) -> Iterator[Share]:
        """The steps of an epoch, as a training has them."""
        yield from islice(self.feed.train(epoch), self.steps)

    def validate(self) -> None:
        """Look at the pictures to validate on, and wait for the device."""
        for share in self.feed.evaluate("val"):
            float(share.inputs.sum())

    def noise(self) -> Iterator[Share]:
        """As many steps on one and the same batch, called otherwise each time: what is known by heart gives gradients
        next to nothing, which processors compute slowly."""
        size, side = self.config.batch_size or 1, self.prep.side
        device = self.accelerator.device
        inputs = torch.randn(size, 3, side, side, device=device)
        labels = torch.arange(size, device=device) % self.feed.classes
        share = Share(inputs, labels, torch.ones(size, device=device), size, [])
        for number in range(self.steps):
            yield dataclasses.replace(share, labels=(labels + number) % self.feed.classes)

    def seconds(self, shares: Iterator[Share]) -> tuple[float, float]:
        """How long the steps take, by the clock and in time of the processor's cores."""
        tally = Tally(self.accelerator.device)
        figures = Together(tally)
        began, worked = time.perf_counter(), time.process_time()
        for share in shares:
            self.learner.set_rates(self.step, Position())
            list(self.compiler.look(share, Position(epoch=1)))
            logits, _ = self.learner.gradients(share, self.step)
            self.learner.step(self.step)
            figures.add(logits, share.labels, share.weight)
            self.step += 1
        figures.settle()
        assert tally.total(self.accelerator).n == self.count  # waits for the device too
        return time.perf_counter() - began, time.process_time() - worked


if __name__ == "__main__":
    main()
