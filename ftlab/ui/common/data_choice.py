"""Which pictures the person chose, and what a scan of them gave. Shared by the tabs; knows no gradio."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

from ftlab.config.train_config import FIELDS, SAMPLE_SET_NAMES, TrainConfig
from ftlab.core.errors import DataError
from ftlab.data.dataset import catalog, exclusions
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.samples import sample_sets
from ftlab.data.sources import locate, tutorial_datasets
from ftlab.data.sources.listing import is_ignored
from ftlab.ui.common import uploads
from ftlab.ui.common.access import ServerProfile, get_visitors_dir, resolve_inside

FOLDER_SOURCE = "folder"
"""A choice beside the sample sets: a folder of the person's own, or a zip or a list there."""
UPLOAD_SOURCE = "upload"
"""Another one: a zip that the person sends."""
TUTORIAL_SOURCE = "tutorial"
"""Another one: the data set of a tutorial, by its name."""
_MAX_CACHED_SCANS = 32


@dataclass(frozen=True)
class DataSource:
    """A choice of pictures, checked.

    Attributes:
        sample: `shapes`, `shortcut`, `folder`, `upload`, or `tutorial`.
        folder: where the pictures are, or the zip or the list; for a sample set None, until it is rendered.
        val_share, test_share: fractions set aside where the layout leaves it to us.
        exclusion_file: list of what is left out, None for nothing.
    """

    sample: str
    folder: Path | None
    val_share: float
    test_share: float
    exclusion_file: Path | None = None

    def to_config_fields(self) -> dict[str, object]:
        """The knobs of a training that say the same."""
        shares: dict[str, object] = {"val_share": self.val_share, "test_share": self.test_share}
        shares |= {"exclude": str(self.exclusion_file)} if self.exclusion_file else {}
        return {"data": str(self.folder), **shares} if self.folder else {"sample": self.sample, **shares}


def parse_source(profile: ServerProfile, sample: str, folder: str, val_share: float, test_share: float) -> DataSource:
    """The source that a page's widgets name, whoever sent their values.

    Args:
        profile: of this server.
        sample: as in `DataSource`.
        folder: as typed; of an upload, the name that `uploads.take` gave it; of a tutorial's data set, its name. In
            a second line, the name of the list of what is left out, see `real_path`.
        val_share, test_share: fractions.

    Raises:
        DataError: no folder is named, it does not exist, or it lies where this server must not look; the upload or
            the list is not there any more; the data set was not fetched yet.
    """
    folder, list_name = split_location(folder)
    shares = clamp_share("val_share", val_share), clamp_share("test_share", test_share)
    if list_name:
        exclusion_file = exclusions.find_exclusion_list(list_name)
        if exclusion_file is None:
            raise DataError("exclude.gone")
        return replace(parse_source(profile, sample, folder, *shares), exclusion_file=exclusion_file)
    if sample in SAMPLE_SET_NAMES:
        return DataSource(sample, None, *shares)
    if sample == UPLOAD_SOURCE:
        return DataSource(UPLOAD_SOURCE, uploads.find_upload(str(folder or "")), *shares)
    if sample == TUTORIAL_SOURCE:
        dataset = tutorial_datasets.get_dataset(str(folder or ""))
        dataset_folder = tutorial_datasets.find_image_folder(dataset)
        if dataset_folder is None:
            raise DataError("page.not_fetched", title=dataset.title)
        return DataSource(TUTORIAL_SOURCE, dataset_folder, *shares)
    if profile.data_root is None:
        raise DataError("page.no_folders")
    if not str(folder or "").strip():
        raise DataError("page.no_folder")
    real_path = resolve_inside(profile.data_root, folder)
    if not real_path.is_dir() and not locate.is_dataset_file(real_path):
        raise DataError("page.no_such_folder", folder=real_path, near=_find_nearest_folder(real_path))
    if get_visitors_dir().is_relative_to(real_path) and not any(
        map(is_ignored, get_visitors_dir().relative_to(real_path).parts)
    ):
        raise DataError("page.outside", folder=real_path, root=profile.data_root)  # other people's uploads lie in it
    return DataSource(FOLDER_SOURCE, real_path, *shares)


def join_location(source_id: str, list_name: str) -> str:
    """What `parse_source` takes as `folder`: a path or a name, and the name of a list of what is left out of it."""
    return f"{source_id}\n{list_name}" if list_name else source_id


def split_location(location: object) -> tuple[str, str]:
    """The inverse of `join_location`, of whatever a page sends."""
    source_id, _, list_name = location.partition("\n") if isinstance(location, str) else ("", "", "")
    return source_id, list_name


def make_exclusion_key(sample: str, source_id: str) -> str:
    """By what a browser remembers what is left out of a choice; `dataset._PLACE` says the same there."""
    return sample if sample in SAMPLE_SET_NAMES else f"{sample} {source_id}"


def scan_source(
    source: DataSource, *, fresh: bool = False, progress: Callable[[int, int], None] | None = None
) -> Catalog:
    """The catalogue of a source. The files are looked at once, also when several ask at the same time; with other
    shares they are only dealt again.

    Args:
        source: as `parse_source` gives it.
        fresh: look again, the files may have changed.
        progress: called with files done and files in all.

    Raises:
        DataError: the folder cannot be used.
        ConfigError: the shares leave nothing to train on.
    """
    scan_key = (source.sample, source.folder)
    with _lock:
        future = None if fresh else scan_futures.get(scan_key)
        is_scanner = future is None
        if future is None:
            future = scan_futures[scan_key] = Future()
        scan_futures.move_to_end(scan_key)
        while len(scan_futures) > _MAX_CACHED_SCANS:
            scan_futures.popitem(last=False)
    if is_scanner:
        try:
            folder = source.folder or sample_sets.ensure_sample_set(source.sample, progress=progress)
            future.set_result(catalog.scan(folder, seed=DEFAULT_SPLIT_SEED, progress=progress))
        except BaseException as error:
            with _lock:
                if scan_futures.get(scan_key) is future:
                    del scan_futures[scan_key]
            future.set_exception(error)
    return _apply_split(source, future.result())


def find_scanned_catalog(source: DataSource) -> Catalog | None:
    """The catalogue of a source if it was scanned already, without waiting."""
    with _lock:
        future = scan_futures.get((source.sample, source.folder))
    is_scanned = future is not None and future.done() and future.exception() is None
    return _apply_split(source, future.result()) if future is not None and is_scanned else None


def resplit_catalog(scanned: Catalog, config: TrainConfig) -> Catalog:
    """A catalogue as a training with these settings deals it: the page's is dealt by the seed that is there untouched,
    and holds out what is usual."""
    shares = {"val_share": config.val_share, "test_share": config.test_share}
    if config.seed != DEFAULT_SPLIT_SEED:
        scanned = catalog.resplit(scanned, **shares, seed=config.seed)
    return catalog.hold_out(scanned, config.held_out, test_share=config.test_share, seed=config.seed)


def _apply_split(source: DataSource, scanned: Catalog) -> Catalog:
    """The scanned pictures with the source's shares; the last few are kept."""
    with _lock:
        base_catalog, split_catalog = split_catalogs.get(source, (None, None))
    if split_catalog is None or base_catalog is not scanned:
        included = (
            exclusions.exclude_images(scanned, exclusions.read_exclusions(source.exclusion_file))
            if source.exclusion_file
            else scanned
        )
        shares = {"val_share": source.val_share, "test_share": source.test_share}
        split_catalog = catalog.resplit(included, **shares, seed=DEFAULT_SPLIT_SEED)
        with _lock:
            split_catalogs[source] = scanned, split_catalog
            while len(split_catalogs) > _MAX_CACHED_SCANS:
                split_catalogs.popitem(last=False)
    return split_catalog


DEFAULT_SPLIT_SEED = int(FIELDS["seed"][1])
"""The seed of the split that the page shows: the default of a training."""
scan_futures: OrderedDict[tuple[str, Path | None], Future[Catalog]] = OrderedDict()
split_catalogs: OrderedDict[DataSource, tuple[Catalog, Catalog]] = OrderedDict()
_lock = threading.Lock()


def clamp_share(name: str, value: object) -> float:
    """A share within its knob's bounds: what a slider sends is trusted no more than anything else."""
    field_spec, default = FIELDS[name]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return min(max(float(value), field_spec.low or 0.0), field_spec.high or 1.0)
    return float(default)


def _find_nearest_folder(folder: Path) -> Path:
    """The part of a path that does exist: it shows where the typing went wrong."""
    return next(parent for parent in folder.parents if parent.is_dir())
