"""fastai's `vision_learner` and `fine_tune`, with its own defaults, for a backbone of torchvision.

One epoch trains the new head alone, then `--epochs` epochs train all layers. Batches of 64, images resized to `--side`.
fastai does not know where the body of MobileNetV2 ends; `model_meta` says so. Prints a line of JSON at the end.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from fastai.vision import learner
from fastai.vision.all import Callback, ImageDataLoaders, Resize, accuracy, imagenet_stats
from torchvision import models

from benchmarks.peers import job


class EpochTimes(Callback):  # type: ignore[misc]
    """Accuracy and duration of each epoch, and when it ended.

    Attributes:
        results: filled in while the learner trains.
    """

    order = 60
    """After the recorder's 50, whose accuracy it reads."""

    def __init__(self) -> None:
        """Begin without epochs."""
        self.results = job.EpochResults()

    def before_epoch(self) -> None:
        """Take the time at which an epoch begins."""
        self._start_time = time.monotonic()

    def after_epoch(self) -> None:
        """Keep the accuracy, the last column of fastai's recorder."""
        self.results.add(float(self.recorder.values[-1][-1]), time.monotonic() - self._start_time)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and print the result."""
    parser = job.create_parser(__doc__, batch_size=64, workers=job.count_cores())
    options = parser.parse_args(arguments)
    start_time = time.monotonic()
    build_backbone = getattr(models, options.backbone)
    if build_backbone not in learner.model_meta:
        # All children but the last, the classifier.
        learner.model_meta[build_backbone] = {"cut": -1, "split": learner.default_split, "stats": imagenet_stats}
    loaders = ImageDataLoaders.from_folder(
        options.folder, train="train", valid="val", item_tfms=Resize(options.side), bs=options.batch_size,
        num_workers=options.workers,
    )  # fmt: skip
    trainer = learner.vision_learner(loaders, build_backbone, metrics=accuracy, pretrained=not options.random)
    epoch_times = EpochTimes()
    with trainer.no_bar(), trainer.no_logging():
        _train(trainer, options, epoch_times)
    epoch_times.results.print_result(start_time)


def _train(trainer: learner.Learner, options: argparse.Namespace, epoch_times: EpochTimes) -> None:
    """Train the head for some epochs in frozen mode, else all layers after an epoch of the head."""
    if options.mode == "frozen":
        trainer.freeze()
        trainer.fit_one_cycle(options.epochs, slice(2e-3), cbs=epoch_times)
    else:
        trainer.fine_tune(options.epochs, cbs=epoch_times)


if __name__ == "__main__":
    main()
