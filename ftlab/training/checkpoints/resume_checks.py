"""What a training that goes on finds to be otherwise than when it began: the machine, the state, the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog
from ftlab.runs.events import Note
from ftlab.training.checkpoints.checkpoint import State
from ftlab.training.feeds.images import PictureFeed


def differences(begun: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is not as it was: of `devices.facts` as a run keeps them and as they are, each as `name: was → is`."""
    said = []
    for key, value in now.items():
        was = begun.get(key)
        pairs = value.items() if isinstance(value, dict) else [(key, value)]
        for name, here in pairs:
            there = was.get(name) if isinstance(was, dict) else was
            if here != there:
                said.append(f"{name}: {there} → {here}")
    return said


def restored(saved: State | None) -> Iterator[Note]:
    """What a person should know of the state that a training goes on from."""
    if saved and saved.damaged:
        yield warning("fell_back", cause=saved.damaged, step=saved.position.step)


def changed(pictures: PictureFeed) -> Iterator[Note]:
    """What happened to the pictures since they were listed; those that are not there any more are left out.

    Raises:
        DataError: none of them is there.
    """
    catalog = pictures.catalog
    if gone(catalog):
        raise DataError("data.gone", folder=catalog.root)
    missing, other = [], []
    for split, items in catalog.splits.items():
        for index, item in enumerate(items):
            try:
                if catalog.path(item).stat().st_size != item.size:
                    other.append(item.path)
            except OSError:
                missing.append(item.path)
                pictures.lost[split].add(index)
    for code, files in (("data_missing", missing), ("data_changed", other)):
        if files:
            yield warning(code, count=len(files), file=files[0])


def gone(catalog: Catalog) -> bool:
    """Whether the pictures as a whole are out of reach, by a few of them: moved, or on a disk that was taken out."""
    probes = [items[i] for items in catalog.splits.values() if items for i in (0, len(items) // 2, -1)]
    return not any(catalog.path(item).exists() for item in probes)


def warning(code: str, **values: object) -> Note:
    """A note that a person should not overlook."""
    return Note(code=code, values=values, level="warning")
