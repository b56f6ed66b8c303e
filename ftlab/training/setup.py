"""Configuration and catalog of a training, resolved once and recorded in its run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig, fill_defaults
from ftlab.core.errors import ImageError, RunError
from ftlab.core.machine import count_cpu_cores
from ftlab.data.dataset import from_config
from ftlab.data.dataset.catalog import Catalog, load_run_catalog
from ftlab.data.dataset.from_config import DatasetSource
from ftlab.data.gpu import gpu_augment
from ftlab.data.loading import image_cache
from ftlab.data.transforms import augment_draw, preprocess
from ftlab.models.execution.device import detect_device
from ftlab.runs.directory import Run
from ftlab.runs.events import LogMessage, Started
from ftlab.training.checkpoints import resume_checks
from ftlab.training.devices import device_setup
from ftlab.training.optim import optimizers

_LEGACY_DEFAULTS: dict[str, Any] = {
    "compile": "no",
    "augment_device": "cpu",
    "batchnorm": "trainable",
    "feature_precision": "fp32",
}
"""Defaults for settings that runs of older versions did not record."""


def restore_runtime(config: TrainConfig, run: Run) -> TrainConfig:
    """Return the configuration with device, threads and precision as the run recorded them at its start.

    With other ones a resumed training would give other bits. If the device is not available here, `auto` takes another
    one, and `resolve_config` warns of it.

    Args:
        config: the configuration as the user gave it.
        run: the run directory; a new run has recorded nothing yet.
    """
    # A new run.
    if "resolved" not in run.read_config_file():
        return config
    recorded_config = run.load_resolved_config()
    if recorded_config.device not in ("cpu", detect_device()):
        return dataclasses.replace(
            config, torch_num_threads=recorded_config.torch_num_threads, device="auto", precision="auto"
        )
    return dataclasses.replace(
        config,
        torch_num_threads=recorded_config.torch_num_threads,
        device=recorded_config.device,
        precision=recorded_config.precision,
    )


def resolve_config(config: TrainConfig, run: Run, accelerator: Accelerator) -> tuple[TrainConfig, list[LogMessage]]:
    """Replace automatic settings by values and write them to `config.json`; a resumed run keeps those of its start.

    Image sizes that contradict each other raise a `ConfigError`.

    Args:
        config: the configuration as the user gave it.
        run: the run directory.
        accelerator: device, precision and ranks.

    Returns:
        The resolved configuration, and a warning if versions or machine differ from those at the start of the run.
    """
    recorded = run.read_config_file()
    environment = device_setup.environment_info(accelerator)
    image_cache_mb = image_cache.compute_budget_mb(config, on_gpu=accelerator.device.type != "cpu")
    if "resolved" in recorded:
        differences = resume_checks.describe_differences(recorded, environment)
        # A run of an older version does not name these settings: it was started as they were then.
        legacy_values = {name: value for name, value in _LEGACY_DEFAULTS.items() if name not in recorded["resolved"]}
        recorded_config = dataclasses.replace(run.load_resolved_config(), **legacy_values)
        # The memory that is free now is not that of then, and no bit depends on the cache.
        resolved_config = dataclasses.replace(recorded_config, image_cache_mb=image_cache_mb)
        return resolved_config, [
            resume_checks.make_warning("not_identical", what="; ".join(differences))
        ] if differences else []
    prep = preprocess.from_config(backbones.get_backbone_spec(config.backbone), config)
    resolved_config = dataclasses.replace(
        fill_defaults(config),
        image_size=prep.side,
        resize=prep.resize,
        head_seed=config.init_seed,
        crop_size=config.crop_size or prep.side,
        crop_ratio=config.crop_ratio or augment_draw.DEFAULT_CROP_RATIO,
        device=accelerator.device.type,
        # Accelerate calls float32 `no`.
        precision={"no": "fp32"}.get(accelerator.mixed_precision, accelerator.mixed_precision),
        fused=optimizers.resolve_fused(config, accelerator.device),
        image_cache_mb=image_cache_mb,
        augment_device=gpu_augment.augment_device(config, accelerator.device),
        num_workers=config.num_workers or count_cpu_cores(),
        torch_num_threads=torch.get_num_threads(),
    )
    if accelerator.is_main_process:
        run.write_json("config.json", {**recorded, "resolved": resolved_config.to_json(), **environment})
    return resolved_config, []


def load_catalog(
    config: TrainConfig,
    run: Run,
    accelerator: Accelerator,
    catalog: Catalog | None = None,
    source: DatasetSource | None = None,
) -> Catalog:
    """Load the images and their split from `split.json`; of a new run scan the data set and write the file.

    Data that cannot be used raise a `DataError`, a configuration without data a `ConfigError`.

    Args:
        config: names the data and the split.
        run: the run directory.
        accelerator: lets all ranks scan before rank 0 writes.
        catalog: result of a scan just now, for a new run.
        source: data of a new run, as far as it was located before.

    Returns:
        The catalog.

    Raises:
        RunError: `split.json` is not the one that the run was started with, or is gone and cannot be drawn again.
    """
    if os.path.lexists(run.path / "split.json"):  # a folder or a broken link of this name is a damaged file
        recorded_catalog = load_run_catalog(run)
        # Another split would train on images that validated before.
        if recorded_catalog.compute_fingerprint() != run.read_config_file().get(
            "manifest", recorded_catalog.compute_fingerprint()
        ):
            raise RunError("run.split", run=run.name)
        return recorded_catalog
    if catalog is None:
        # A large folder takes minutes, in which only these heartbeats show that the process lives.
        heartbeat = run.liveness.create_heartbeat()
        catalog = from_config.resolve_dataset(config, lambda _done, _total: heartbeat.beat(), source=source)
    # The file of a run to be resumed is gone: the split is drawn again, if it comes out the same.
    if run.read_config_file().get("manifest", catalog.compute_fingerprint()) != catalog.compute_fingerprint():
        raise RunError("run.split", run=run.name)
    # A rank that came later would take the file for that of a run to be resumed.
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        run.write_json("split.json", catalog.to_json())
        skipped = [problem.file for problem in catalog.problems]
        run.write_json(
            "config.json",
            {**run.read_config_file(), "manifest": catalog.compute_fingerprint(), "skipped": skipped},
        )
    return catalog


def make_started_event(
    config: TrainConfig, catalog: Catalog, step: int, accelerator: Accelerator, net: nn.Module, steps_per_epoch: int
) -> Started:
    """Return the event that tells the size of a training, its parameters counted as the network is frozen now.

    Args:
        config: the resolved configuration.
        catalog: the images by split.
        step: steps that were taken before.
        accelerator: device and ranks of the steps.
        net: the network.
        steps_per_epoch: optimizer steps in an epoch.
    """
    device, rank_count = device_setup.describe_device(accelerator.device), accelerator.num_processes
    return Started(
        step=step,
        epochs=config.epochs or 1,
        steps_per_epoch=steps_per_epoch,
        device=f"{rank_count} × {device}" if rank_count > 1 else device,
        train_images=len(catalog.splits["train"]),
        val_images=len(catalog.splits["val"]),
        trainable=sum(p.numel() for p in net.parameters() if p.requires_grad),
        total=sum(p.numel() for p in net.parameters()),
        validation="test" if catalog.layout == "test_as_val" else "val",
        processes=rank_count,
    )


def report_validation_split(catalog: Catalog) -> Iterator[LogMessage]:
    """Yield a warning if the test split validates: its accuracy is then no estimate for unseen images."""
    if catalog.layout == "test_as_val":
        yield resume_checks.make_warning("test_as_val", count=len(catalog.splits["val"]))


def report_skipped_images(failures: list[tuple[int, ImageError]], catalog: Catalog, split: str) -> Iterator[LogMessage]:
    """Yield a warning for each image that could not be read.

    Args:
        failures: index and error of each.
        catalog: names the images.
        split: that the indices refer to.
    """
    for index, error in failures:
        yield resume_checks.make_warning("skipped", file=catalog.splits[split][index].path, problem=error.problem)
