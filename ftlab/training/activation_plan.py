"""Decision whether the activations below the trained layers are computed once."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from accelerate import Accelerator

from ftlab.config.train_config import TrainConfig
from ftlab.core import kv_cache
from ftlab.core.kv_cache import MIN_FREE_DISK_BYTES
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.gpu import gpu_augment
from ftlab.data.loading import image_cache
from ftlab.models import freezing
from ftlab.models.activations import mapped_rows, split_backbone
from ftlab.models.activations.boundary_values import SplitError
from ftlab.models.activations.split_backbone import BackboneSplit
from ftlab.models.execution.feature_rows import ROW_DTYPES
from ftlab.models.network import Network
from ftlab.runs.directory import Run
from ftlab.runs.events import LogMessage
from ftlab.training.session import Session

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ActivationPlan:
    """Decision of a run about the activations of its frozen layers.

    Attributes:
        config: the configuration; `activations` is `fresh` where they cannot be cached.
        split: boundary below which they are computed once; None to compute them in each step.
        notes: says how many bytes they take, or why they are computed in each step although that was not asked for.
    """

    config: TrainConfig
    split: BackboneSplit | None = None
    notes: tuple[LogMessage, ...] = ()


def plan_activations(session: Session, net: Network, image_size: int) -> ActivationPlan:
    """Decide whether the activations of the frozen layers are computed once, and record it if they are not.

    Args:
        session: configuration, run directory, number of images, device and ranks.
        net: the network, on its device, with the flags of a training.
        image_size: S, in pixels.

    Returns:
        The plan. Without a split where none was asked for, or the next epoch trains all layers; and, with a warning,
        for several processes, for a backbone that cannot be split, and where the activations would take more than the
        feature cache or the disk holds.
    """
    config, accelerator = session.config, session.accelerator
    if not session.phase_config.caches_activations:
        return ActivationPlan(config)
    split = _find_split(net, config, image_size, accelerator)
    if isinstance(split, BackboneSplit):
        note = _check_space(split, config, session.catalog)
        if note.level == "info":
            return ActivationPlan(config, split, (note,))
    else:
        note = split
    return ActivationPlan(_drop_activations(config, session.run, accelerator), None, (note,))


def _find_split(
    net: Network, config: TrainConfig, image_size: int, accelerator: Accelerator
) -> BackboneSplit | LogMessage:
    """Return the split of a backbone, or a warning that says why there is none."""
    if accelerator.num_processes > 1:
        return _make_warning("processes")
    if net.auxiliary and net.uses_auxiliary:
        return _make_warning("backbone")
    last_epoch = config.unfreeze_all_epoch or config.epochs or 1
    trainable_names = freezing.list_trainable_names(net.backbone, config, last_epoch)
    try:
        return split_backbone.split_backbone(net.backbone, trainable_names, image_size)
    except SplitError as cause:
        _logger.info("the backbone is not split: %s", cause)
        return _make_warning("backbone")


def _check_space(split: BackboneSplit, config: TrainConfig, catalog: Catalog) -> LogMessage:
    """Return the note of how much the activations take, or a warning if that is too much.

    Args:
        split: the boundary.
        config: number of views and precision.
        catalog: its number of images counts.
    """
    view_count = len(catalog.splits["train"]) * config.views_per_image + len(catalog.splits["val"])
    row_bytes = split.row_length * ROW_DTYPES[config.feature_precision].itemsize
    byte_count, budget_bytes = view_count * row_bytes, kv_cache.get_feature_budget()
    megabytes = -(-byte_count // 1_000_000)
    if byte_count > budget_bytes:
        return _make_warning("budget", megabytes=megabytes, budget=budget_bytes // 1_000_000)
    # Twice: the run maps a table of its own, and what later runs can use goes to the cache.
    folder, free_bytes = mapped_rows.find_free_space()
    if 2 * byte_count + MIN_FREE_DISK_BYTES > free_bytes:
        return _make_warning("disk", megabytes=2 * megabytes, folder=str(folder), free=free_bytes // 1_000_000)
    values: dict[str, object] = {"block": split.module_path, "views": view_count, "megabytes": megabytes}
    return LogMessage(code="activations_plan", values={**values, "kilobytes": round(row_bytes / 1000)})


def _make_warning(reason: str, **values: object) -> LogMessage:
    """Return the warning that the activations are computed in each step."""
    return LogMessage(code=f"activations_{reason}", values=values, level="warning")


def _drop_activations(config: TrainConfig, run: Run, accelerator: Accelerator) -> TrainConfig:
    """Return the configuration of a run that computes the frozen layers in each step, and record it.

    A resume then does the same, even where the activations would fit by now.

    Args:
        config: the resolved configuration.
        run: the run directory.
        accelerator: device and ranks.
    """
    chosen_config = dataclasses.replace(run.load_config(), activations="fresh")
    changes: dict[str, Any] = {
        "activations": "fresh",
        # Both follow from how the images are used.
        "image_cache_mb": image_cache.compute_budget_mb(chosen_config, on_gpu=accelerator.device.type != "cpu"),
        "augment_device": gpu_augment.augment_device(chosen_config, accelerator.device),
    }
    if accelerator.is_main_process:
        run.update_resolved_config(**changes)
    return dataclasses.replace(config, **changes)
