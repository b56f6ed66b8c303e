"""The features of a frozen backbone, computed once for a run: by which engine, what of them was kept from before."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from importlib.metadata import version

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

import ftlab
from ftlab.config import backbones
from ftlab.core.errors import DataError, PictureError
from ftlab.data.transforms import preprocess
from ftlab.models.execution import engines, feature_cache, features
from ftlab.models.execution.engines import Engine
from ftlab.models.execution.feature_cache import Store
from ftlab.models.execution.features import Features
from ftlab.models.network import Network
from ftlab.runs.directory import Run
from ftlab.runs.events import Event, Note, Progress
from ftlab.training import setup
from ftlab.training.checkpoints import resume_checks
from ftlab.training.devices import device_setup
from ftlab.training.feeds.images import PictureFeed

_TOGETHER = 2048
"""Pictures whose features processes exchange at a time."""


def compute(
    net: Network, pictures: PictureFeed, run: Run, accelerator: Accelerator, stop: Callable[[], bool], keep: bool
) -> Iterator[Event | dict[str, Features]]:
    """Progress, then the features of training and validation pictures; ends without them when `stop` says so.

    Args:
        keep: whether what was computed before is used, and kept for later.

    Raises:
        DataError: no picture can be read any more.
    """
    found: dict[str, Features] = {}
    config = pictures.config
    if pictures.early and not pictures.packs_views:
        pictures.early.enough()
    counts = {split: len(pictures.catalog.splits[split]) for split in ("train", "val")}
    wanted = {"train": config.cached_views, "val": 1}
    looks = sum(counts[split] * wanted[split] for split in counts)
    store = feature_cache.of_home() if keep and accelerator.num_processes == 1 else None
    row = backbones.get(config.backbone)
    likely = engines.likely(row, accelerator.device, looks=looks, wanted=config.engine)
    common = _common(net, pictures, likely) if store else ""
    if store and store.file.exists():
        known = yield from _known(pictures, store, common, wanted, stop)
        if known:
            if config.engine != likely:
                run.resolve(engine=likely)
            yield Note(code="features_kept", values={"kept": sum(counts.values()), "images": sum(counts.values())})
            yield known
        if known or stop():
            return
    engine = _engine(net, pictures, run, accelerator, looks)
    if store and engine.name != likely:
        common = _common(net, pictures, engine.name)
    pace = _Pace(sum(counts.values()))
    for split, count in counts.items():
        work = features.compute(
            engine,
            count,
            wanted[split],
            partial(pictures.every_view, split, count=wanted[split]),
            accelerator.device,
            pictures.workers,
            store,
            lambda index, split=split: pictures.keys(split, index, wanted[split], common),  # type: ignore[misc]
            whole=partial(pictures.views, split, count=wanted[split]) if pictures.packs_views else None,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
        )
        for part in work:
            if isinstance(part, Features):
                part = _joined(part, count, accelerator)
                # All at once is no matter of single files.
                if not part.indices or (part.skipped and resume_checks.gone(pictures.catalog)):
                    raise DataError("data.gone", folder=pictures.catalog.root)
                found[split] = part
                yield from setup.skipped(pictures.lose(split, part.skipped), pictures.catalog, split)
            elif stop():
                return
            else:
                yield from pace.say(min(count, part * accelerator.num_processes))
        pace.before += count
    seconds = time.monotonic() - pace.began
    kept = sum(one.kept for one in found.values())
    if kept:
        yield Note(code="features_kept", values={"kept": kept, "images": pace.total})
    if new := pace.total - kept:
        yield Note(code="features", values={"images": new, "seconds": round(seconds, 1), "rate": round(new / seconds)})
    yield found


def _engine(net: Network, pictures: PictureFeed, run: Run, accelerator: Accelerator, looks: int) -> Engine:
    """What runs the frozen backbone: as the run began, else what the first process finds to be the fastest; noted in
    the run."""
    config, prep = pictures.config, pictures.prep

    def choose(wanted: str) -> Engine:
        row = backbones.get(config.backbone)
        given = (net.backbone, row, lambda pixels: preprocess.normalise(pixels, prep), prep.side, accelerator.device)
        return engines.choose(*given, looks=looks, wanted=wanted)

    mine = choose(config.engine) if accelerator.is_main_process else None
    name = device_setup.told(accelerator, mine.name if mine else "")
    if mine and config.engine != name:
        run.resolve(engine=name)
    return mine or choose(name)


def _joined(mine: Features, count: int, accelerator: Accelerator) -> Features:
    """The features of all N = `count` pictures, of which each process has looked at some: to the bit as if one had
    looked at all, but for the sign of zero."""
    if accelerator.num_processes == 1:
        return mine
    told = (mine.vectors.shape[2], mine.indices, [(index, why.code, dict(why.values)) for index, why in mine.skipped])
    everyones = gather_object([told])
    width = max(own for own, _, _ in everyones)
    order = sorted(index for _, own, _ in everyones for index in own)
    skipped = sorted((one for _, _, own in everyones for one in own), key=lambda one: one[0])
    whole = torch.zeros(len(mine.vectors), count, width)
    if mine.indices:
        whole[:, mine.indices] = mine.vectors
    for start in range(0, count, _TOGETHER):  # each row is some process's, and 0 in all others
        some = whole[:, start : start + _TOGETHER].contiguous().to(accelerator.device)
        whole[:, start : start + _TOGETHER] = device_setup.total(accelerator, some).cpu()
    refused = [(index, PictureError(code, **values)) for index, code, values in skipped]
    return Features(whole if len(order) == count else whole[:, order], order, refused)


def _known(
    pictures: PictureFeed, store: Store, common: str, views: dict[str, int], stop: Callable[[], bool]
) -> Generator[Event, None, dict[str, Features] | None]:
    """Progress; the generator's value: the features of all pictures, if all were kept from the engine that is to be
    expected, for none is made then, which takes a second. None too when `stop` said so."""
    found: dict[str, Features] = {}
    counts = {split: len(pictures.catalog.splits[split]) for split in views}
    pace = _Pace(sum(counts.values()))
    for split, number in views.items():

        def keys(index: int, split: str = split, number: int = number) -> list[bytes] | None:
            return pictures.keys(split, index, number, common)

        for part in features.kept(store, keys, counts[split], number, pictures.workers):
            if isinstance(part, Features):
                found[split] = part
            elif stop():
                return None
            else:
                yield from pace.say(part)
        if split not in found:
            return None
        pace.before += counts[split]
    return found


class _Pace:
    """How far the work on all pictures is, told as often as a person reads it.

    Attributes:
        total: pictures.
        before: of them in the splits that are done.
        began: when, on the monotonic clock.
    """

    def __init__(self, total: int) -> None:
        self.total, self.before = total, 0
        self.began = self._told = time.monotonic()

    def say(self, done: int) -> Iterator[Progress]:
        """`done` pictures of the split at work."""
        now, done = time.monotonic(), self.before + done
        if now - self._told > setup.TELL:
            self._told = now
            yield Progress(stage="features", done=done, total=self.total, images_per_second=done / (now - self.began))


def _common(net: Network, pictures: PictureFeed, engine: str) -> str:
    """What all features of a training depend on, in a few letters: weights, preparation, and the programs at work."""
    programs = [ftlab.__version__, engine, *(version(name) for name in (engine, "torch", "pillow"))]
    facts = [engines.fingerprint(net.backbone), pictures.prep.to_json(), programs, pictures.device.type]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
