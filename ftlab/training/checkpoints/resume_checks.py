"""Checks of a resumed training: what differs from its start in machine, checkpoint and images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.images import tar_members
from ftlab.runs.directory import Run
from ftlab.runs.events import LogMessage
from ftlab.training.checkpoints.checkpoint import LoadedCheckpoint, TrainState
from ftlab.training.feeds.image_base import ImageFeedBase


def describe_differences(recorded: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """Compare two results of `device_setup.environment_info`.

    Args:
        recorded: content of the run's `config.json`.
        current: of this process.

    Returns:
        Each difference as `name: recorded → current`.
    """
    differences = []
    for key, value in current.items():
        recorded_entry = recorded.get(key)
        pairs = value.items() if isinstance(value, dict) else [(key, value)]
        for name, current_value in pairs:
            recorded_value = recorded_entry.get(name) if isinstance(recorded_entry, dict) else recorded_entry
            if current_value != recorded_value:
                differences.append(f"{name}: {recorded_value} → {current_value}")
    return differences


def report_damaged_files(loaded_checkpoint: LoadedCheckpoint | None, run: Run) -> Iterator[LogMessage]:
    """Yield warnings: the newest checkpoint is damaged and the one before it was loaded; the best weights are gone.

    Args:
        loaded_checkpoint: where the training goes on; None at its start.
        run: the run.

    Yields:
        The warnings.
    """
    if loaded_checkpoint:
        yield from _forget_lost_best(loaded_checkpoint.train_state, run)
    if loaded_checkpoint and loaded_checkpoint.newer_file_error:
        yield make_warning(
            "fell_back", cause=loaded_checkpoint.newer_file_error, step=loaded_checkpoint.train_state.step
        )


def _forget_lost_best(train_state: TrainState, run: Run) -> Iterator[LogMessage]:
    """Let the next epoch count as the best if the best weights are gone; else the run might end without a model.

    Args:
        train_state: of the checkpoint.
        run: the run.

    Yields:
        A warning, if they are gone.
    """
    if train_state.best_epoch is not None and not run.best_weights_path.is_file():
        train_state.best_epoch = train_state.best_accuracy = train_state.best_loss = None
        yield make_warning("best_gone")


def report_changed_images(image_feed: ImageFeedBase) -> Iterator[LogMessage]:
    """Compare the images with the catalog by existence and size, and exclude those that are missing.

    Args:
        image_feed: excludes the images.

    Yields:
        A warning on missing images, and one on changed ones.

    Raises:
        DataError: all images are missing.
    """
    catalog = image_feed.catalog
    if catalog.is_remote:  # a shard that has changed is noticed when it is read
        return
    if is_data_gone(catalog):
        raise DataError("data.gone", folder=catalog.root)
    missing_paths, changed_paths = [], []
    for split, items in catalog.splits.items():
        for index, item in enumerate(items):
            try:
                # By size alone: reading all files would take as long as an epoch.
                if tar_members.read_image_state(catalog.image_path(item)).size_bytes != item.size_bytes:
                    changed_paths.append(item.path)
            except OSError:
                missing_paths.append(item.path)
                image_feed.excluded[split].add(index)
    for code, paths in (("data_missing", missing_paths), ("data_changed", changed_paths)):
        if paths:
            yield make_warning(code, count=len(paths), file=paths[0])


def is_data_gone(catalog: Catalog) -> bool:
    """Return whether the folder as a whole is missing, moved or on a removed disk: by three images of each split."""
    if catalog.is_remote:
        return False
    # A few files suffice, where thousands would each wait for an unreachable disk.
    probe_items = [items[i] for items in catalog.splits.values() if items for i in (0, len(items) // 2, -1)]
    return not any(tar_members.has_image(catalog.image_path(item)) for item in probe_items)


def make_warning(code: str, **values: object) -> LogMessage:
    """Return a warning for the log, with the values of its message."""
    return LogMessage(code=code, values=values, level="warning")
