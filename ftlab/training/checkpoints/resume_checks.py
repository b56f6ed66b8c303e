"""What a training that goes on finds to be otherwise than when it began: the machine, the state, the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog
from ftlab.runs.events import LogMessage
from ftlab.training.checkpoints.checkpoint import LoadedCheckpoint
from ftlab.training.feeds.images import ImageFeed


def describe_differences(recorded: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """What is not as it was: of `devices.facts` as a run keeps them and as they are, each as `name: was → is`."""
    differences = []
    for key, value in current.items():
        recorded_entry = recorded.get(key)
        pairs = value.items() if isinstance(value, dict) else [(key, value)]
        for name, current_value in pairs:
            recorded_value = recorded_entry.get(name) if isinstance(recorded_entry, dict) else recorded_entry
            if current_value != recorded_value:
                differences.append(f"{name}: {recorded_value} → {current_value}")
    return differences


def report_damaged_checkpoint(loaded_checkpoint: LoadedCheckpoint | None) -> Iterator[LogMessage]:
    """What a person should know of the state that a training goes on from."""
    if loaded_checkpoint and loaded_checkpoint.newer_file_error:
        yield make_warning(
            "fell_back", cause=loaded_checkpoint.newer_file_error, step=loaded_checkpoint.train_state.step
        )


def report_changed_images(image_feed: ImageFeed) -> Iterator[LogMessage]:
    """What happened to the pictures since they were listed; those that are not there any more are left out.

    Raises:
        DataError: none of them is there.
    """
    catalog = image_feed.catalog
    if is_data_gone(catalog):
        raise DataError("data.gone", folder=catalog.root)
    missing_paths, changed_paths = [], []
    for split, items in catalog.splits.items():
        for index, item in enumerate(items):
            try:
                if catalog.image_path(item).stat().st_size != item.size_bytes:
                    changed_paths.append(item.path)
            except OSError:
                missing_paths.append(item.path)
                image_feed.excluded[split].add(index)
    for code, paths in (("data_missing", missing_paths), ("data_changed", changed_paths)):
        if paths:
            yield make_warning(code, count=len(paths), file=paths[0])


def is_data_gone(catalog: Catalog) -> bool:
    """Whether the pictures as a whole are out of reach, by a few of them: moved, or on a disk that was taken out."""
    probe_items = [items[i] for items in catalog.splits.values() if items for i in (0, len(items) // 2, -1)]
    return not any(catalog.image_path(item).exists() for item in probe_items)


def make_warning(code: str, **values: object) -> LogMessage:
    """A note that a person should not overlook."""
    return LogMessage(code=code, values=values, level="warning")
