"""Evaluation of a network on one split of the data during a training."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog
from ftlab.models.execution.micro_batches import MicroBatcher
from ftlab.models.execution.parallel_eval import open_parallel_forward
from ftlab.runs import events
from ftlab.runs.events import Event, Progress
from ftlab.training import setup
from ftlab.training.checkpoints import resume_checks
from ftlab.training.devices import device_setup
from ftlab.training.feeds.base import BatchSource
from ftlab.training.metrics import Metrics, MetricSums


def evaluate_split(
    module: nn.Module,
    feed: BatchSource,
    split: str,
    catalog: Catalog,
    accelerator: Accelerator,
    should_stop: Callable[[], bool] = lambda: False,
    micro_batcher: MicroBatcher | None = None,
) -> Generator[Event, None, Metrics | None]:
    """Evaluate a module on a split; its training flags are restored at the end.

    Args:
        module: maps a batch of images or features to logits [b, K].
        feed: gives the batches of the split.
        split: `train`, `val` or `test`.
        catalog: the images behind the feed.
        accelerator: device, precision and ranks.
        should_stop: asked before each batch but the first; it must answer the same on all ranks.
        micro_batcher: divides a batch that does not fit into the device's memory.

    Yields:
        Progress, and a warning for each image that could not be read.

    Returns:
        Metrics over all ranks; None if `should_stop` returned True on the way.

    Raises:
        DataError: the folder of the images is gone.
    """
    micro_batcher = micro_batcher or MicroBatcher()
    # One by one: `module.train()` would set frozen parts to training mode too.
    training_flags = {name: submodule.training for name, submodule in module.named_modules()}
    metric_sums, image_count, last_report_time = MetricSums(accelerator.device), 0, time.monotonic()
    start_time = last_report_time
    module.eval()
    try:
        with open_parallel_forward(accelerator.device) as run_parallel:
            for batch_number, batch in enumerate(feed.iter_eval_batches(split)):
                # Not after the last batch: the metrics are there then.
                if batch_number and should_stop():
                    return None
                if batch.skipped and resume_checks.is_data_gone(catalog):
                    raise DataError("data.gone", folder=catalog.root)
                yield from setup.report_skipped_images(batch.skipped, catalog, split)
                # A batch of which no image could be read is empty; all ranks still ask for a stop below.
                if len(batch.labels):
                    forward_rows = partial(_forward_rows, module, batch.inputs, accelerator)
                    logits = torch.cat(
                        micro_batcher.run_in_slices(len(batch.labels), partial(run_parallel, forward_rows))
                    )
                    metric_sums.add_batch(logits, batch.labels, batch.sample_weights)
                image_count += batch.global_count
                if time.monotonic() - last_report_time > events.PROGRESS_INTERVAL_SECONDS:
                    last_report_time = time.monotonic()
                    rate, total = image_count / (last_report_time - start_time), len(catalog.splits[split])
                    yield Progress(stage="validation", done=image_count, total=total, images_per_second=rate)
    finally:
        for name, submodule in module.named_modules():
            submodule.training = training_flags[name]
    return metric_sums.compute_metrics(accelerator)


def _forward_rows(module: nn.Module, inputs: Tensor, accelerator: Accelerator, rows: slice) -> Tensor:
    """Return the logits [b, K] of some rows of a batch."""
    # Entered and left within one call: a generator that yields inside would leak the mode to its consumer.
    with torch.inference_mode(), device_setup.autocast(accelerator):
        logits: Tensor = module(inputs[rows])
        return logits
