"""Which pictures the person chose, and what a scan of them gave. Shared by the tabs; knows no gradio."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

from ftlab.config.train_config import KNOBS, SAMPLES, TrainConfig
from ftlab.core.errors import DataError
from ftlab.data.dataset import catalog, exclusions
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.samples import sample_sets
from ftlab.data.sources import locate, tutorial_datasets
from ftlab.data.sources.listing import ignored
from ftlab.ui.common import uploads
from ftlab.ui.common.access import Profile, inside, visitors

FOLDER = "folder"
"""A choice beside the sample sets: a folder of the person's own, or a zip or a list there."""
UPLOAD = "upload"
"""Another one: a zip that the person sends."""
TUTORIAL = "tutorial"
"""Another one: the data set of a tutorial, by its name."""
_KEPT = 32


@dataclass(frozen=True)
class Source:
    """A choice of pictures, checked.

    Attributes:
        sample: `shapes`, `shortcut`, `folder`, `upload`, or `tutorial`.
        folder: where the pictures are, or the zip or the list; for a sample set None, until it is rendered.
        val_share, test_share: fractions set aside where the layout leaves it to us.
        excluded: list of what is left out, None for nothing.
    """

    sample: str
    folder: Path | None
    val_share: float
    test_share: float
    excluded: Path | None = None

    def config(self) -> dict[str, object]:
        """The knobs of a training that say the same."""
        shares: dict[str, object] = {"val_share": self.val_share, "test_share": self.test_share}
        shares |= {"exclude": str(self.excluded)} if self.excluded else {}
        return {"data": str(self.folder), **shares} if self.folder else {"sample": self.sample, **shares}


def choose(profile: Profile, sample: str, folder: str, val_share: float, test_share: float) -> Source:
    """The source that a page's widgets name, whoever sent their values.

    Args:
        profile: of this server.
        sample: as in `Source`.
        folder: as typed; of an upload, the name that `uploads.take` gave it; of a tutorial's data set, its name. In
            a second line, the name of the list of what is left out, see `place`.
        val_share, test_share: fractions.

    Raises:
        DataError: no folder is named, it does not exist, or it lies where this server must not look; the upload or
            the list is not there any more; the data set was not fetched yet.
    """
    folder, name = parted(folder)
    shares = share("val_share", val_share), share("test_share", test_share)
    if name:
        excluded = exclusions.find(name)
        if excluded is None:
            raise DataError("exclude.gone")
        return replace(choose(profile, sample, folder, *shares), excluded=excluded)
    if sample in SAMPLES:
        return Source(sample, None, *shares)
    if sample == UPLOAD:
        return Source(UPLOAD, uploads.find(str(folder or "")), *shares)
    if sample == TUTORIAL:
        row = tutorial_datasets.get(str(folder or ""))
        found = tutorial_datasets.find(row)
        if found is None:
            raise DataError("page.not_fetched", title=row.title)
        return Source(TUTORIAL, found, *shares)
    if profile.data_root is None:
        raise DataError("page.no_folders")
    if not str(folder or "").strip():
        raise DataError("page.no_folder")
    place = inside(profile.data_root, folder)
    if not place.is_dir() and not locate.is_file(place):
        raise DataError("page.no_such_folder", folder=place, near=_nearest(place))
    if visitors().is_relative_to(place) and not any(map(ignored, visitors().relative_to(place).parts)):
        raise DataError("page.outside", folder=place, root=profile.data_root)  # other people's uploads lie in it
    return Source(FOLDER, place, *shares)


def place(first: str, name: str) -> str:
    """What `choose` takes as `folder`: a path or a name, and the name of a list of what is left out of it."""
    return f"{first}\n{name}" if name else first


def parted(told: object) -> tuple[str, str]:
    """The inverse of `place`, of whatever a page sends."""
    first, _, name = told.partition("\n") if isinstance(told, str) else ("", "", "")
    return first, name


def key(sample: str, first: str) -> str:
    """By what a browser remembers what is left out of a choice; `dataset._PLACE` says the same there."""
    return sample if sample in SAMPLES else f"{sample} {first}"


def scan(source: Source, *, fresh: bool = False, progress: Callable[[int, int], None] | None = None) -> Catalog:
    """The catalogue of a source. The files are looked at once, also when several ask at the same time; with other
    shares they are only dealt again.

    Args:
        source: as `choose` gives it.
        fresh: look again, the files may have changed.
        progress: called with files done and files in all.

    Raises:
        DataError: the folder cannot be used.
        ConfigError: the shares leave nothing to train on.
    """
    named = (source.sample, source.folder)
    with _lock:
        future = None if fresh else _scans.get(named)
        mine = future is None
        if future is None:
            future = _scans[named] = Future()
        _scans.move_to_end(named)
        while len(_scans) > _KEPT:
            _scans.popitem(last=False)
    if mine:
        try:
            folder = source.folder or sample_sets.ensure(source.sample, progress=progress)
            future.set_result(catalog.scan(folder, seed=SEED, progress=progress))
        except BaseException as error:
            with _lock:
                if _scans.get(named) is future:
                    del _scans[named]
            future.set_exception(error)
    return _dealt(source, future.result())


def known(source: Source) -> Catalog | None:
    """The catalogue of a source if it was scanned already, without waiting."""
    with _lock:
        future = _scans.get((source.sample, source.folder))
    done = future is not None and future.done() and future.exception() is None
    return _dealt(source, future.result()) if future is not None and done else None


def dealt(found: Catalog, settings: TrainConfig) -> Catalog:
    """A catalogue as a training with these settings deals it: the page's is dealt by the seed that is there untouched,
    and holds out what is usual."""
    shares = {"val_share": settings.val_share, "test_share": settings.test_share}
    if settings.seed != SEED:
        found = catalog.deal_again(found, **shares, seed=settings.seed)
    return catalog.hold_out(found, settings.held_out, test_share=settings.test_share, seed=settings.seed)


def _dealt(source: Source, scanned: Catalog) -> Catalog:
    """The scanned pictures with the source's shares; the last few are kept."""
    with _lock:
        base, found = _hands.get(source, (None, None))
    if found is None or base is not scanned:
        whole = exclusions.without(scanned, exclusions.read(source.excluded)) if source.excluded else scanned
        shares = {"val_share": source.val_share, "test_share": source.test_share}
        found = catalog.deal_again(whole, **shares, seed=SEED)
        with _lock:
            _hands[source] = scanned, found
            while len(_hands) > _KEPT:
                _hands.popitem(last=False)
    return found


SEED = int(KNOBS["seed"][1])
"""The seed of the split that the page shows: the default of a training."""
_scans: OrderedDict[tuple[str, Path | None], Future[Catalog]] = OrderedDict()
_hands: OrderedDict[Source, tuple[Catalog, Catalog]] = OrderedDict()
_lock = threading.Lock()


def share(name: str, value: object) -> float:
    """A share within its knob's bounds: what a slider sends is trusted no more than anything else."""
    knob, default = KNOBS[name]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return min(max(float(value), knob.low or 0.0), knob.high or 1.0)
    return float(default)


def _nearest(folder: Path) -> Path:
    """The part of a path that does exist: it shows where the typing went wrong."""
    return next(parent for parent in folder.parents if parent.is_dir())
