"""The images that a person chose and the catalog of their scan; shared by the tabs. Imports no gradio."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

from ftlab.config.name_encodings import NAME_ENCODINGS
from ftlab.config.train_config import FIELDS, SAMPLE_SET_NAMES, TrainConfig
from ftlab.core.errors import DataError
from ftlab.data.dataset import exclusions, scan
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.samples import sample_sets
from ftlab.data.sources import archive, locate, tutorial_datasets
from ftlab.data.sources.listing import is_ignored
from ftlab.server.paths import describe_outside, get_visitors_dir, resolve_inside
from ftlab.server.people.lesson_rules import HANDED_PREFIX
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import uploads
from ftlab.ui.common.page_events import get_person

FOLDER_SOURCE = "folder"
"""Choice besides the sample sets: the person's own folder, or a zip or a list in it."""
UPLOAD_SOURCE = "upload"
"""Choice besides the sample sets: a zip that the person uploads."""
TUTORIAL_SOURCE = "tutorial"
"""Choice besides the sample sets: the data set of a tutorial, by its name."""
DEFAULT_LAYOUT = str(FIELDS["layout"][1])
"""How folders are read unless a person chooses otherwise."""
_MAX_CACHED_SCANS = 32
"""Catalogs kept in memory, as scanned and as split."""


@dataclass(frozen=True)
class DataSource:
    """A validated choice of images.

    Attributes:
        sample: name of a sample set, `folder`, `upload`, `tutorial`, or the `source` of a `HandedDataset`.
        folder: folder of the images, or the zip or the list; None for a sample set, which is rendered when scanned.
        val_share: fraction for validation where the layout has no such split.
        test_share: fraction for the test split where the layout has none.
        exclusion_file: list of excluded images; None: none are.
        layout: how the folders are read, see the setting of that name.
        zip_names: encoding of the names in an archive that a person chose; empty: it is detected.
    """

    sample: str
    folder: Path | None
    val_share: float
    test_share: float
    exclusion_file: Path | None = None
    layout: str = DEFAULT_LAYOUT
    zip_names: str = ""

    def to_config_fields(self) -> dict[str, object]:
        """Return the fields of `TrainConfig` for a training on these images."""
        shares: dict[str, object] = {"val_share": self.val_share, "test_share": self.test_share}
        # Only where there is a list: the command that the page shows then has no empty flag.
        shares |= {"exclude": str(self.exclusion_file)} if self.exclusion_file else {}
        shares |= {"layout": self.layout} if self.layout != DEFAULT_LAYOUT else {}
        # An upload was unpacked with these names already.
        shares |= {"zip_names": self.zip_names} if self.zip_names and self.sample == FOLDER_SOURCE else {}
        return {"data": str(self.folder), **shares} if self.folder else {"sample": self.sample, **shares}


def parse_source(profile: ServerProfile, sample: str, folder: str, val_share: float, test_share: float) -> DataSource:
    """Validate what a page's widgets name; their values may come from anyone.

    Propagates `DataError` where the path lies outside the allowed folder or the upload no longer exists.

    Args:
        profile: profile of this server.
        sample: as in `DataSource`.
        folder: path as typed; for an upload, its token (`uploads.unpack_upload`); for a tutorial, the name of its data
            set. Further lines name the list of excluded images, the layout and the encoding of the names in an
            archive, see `join_location`.
        val_share: fraction for validation.
        test_share: fraction for the test split.

    Returns:
        The source.

    Raises:
        DataError: no folder is named, it does not exist or must not be read; the list of excluded images no longer
            exists; the data set was not downloaded yet.
    """
    folder, list_name, layout, zip_names = split_location(folder)
    shares = clamp_share("val_share", val_share), clamp_share("test_share", test_share)
    if list_name or layout != DEFAULT_LAYOUT or zip_names:
        exclusion_file = exclusions.find_exclusion_list(list_name) if list_name else None
        if list_name and exclusion_file is None:
            raise DataError("exclude.gone")
        source = parse_source(profile, sample, folder, *shares)
        is_archive = source.folder is not None and archive.is_archive(source.folder)
        # An archive of the server is unpacked once for each encoding, which others must not fill the disk with.
        zip_names = zip_names if is_archive and profile.is_local else source.zip_names
        return replace(source, exclusion_file=exclusion_file, layout=layout, zip_names=zip_names)
    if sample in SAMPLE_SET_NAMES:
        return DataSource(sample, None, *shares)
    if sample == UPLOAD_SOURCE:
        upload_folder = uploads.find_upload(str(folder or ""), get_person(profile))
        encoding = uploads.read_chosen_encoding(upload_folder)
        return DataSource(UPLOAD_SOURCE, upload_folder, *shares, zip_names=encoding)
    if isinstance(sample, str) and sample.startswith(HANDED_PREFIX):
        return DataSource(sample, uploads.find_handed_data(profile, sample.removeprefix(HANDED_PREFIX)), *shares)
    if sample == TUTORIAL_SOURCE:
        dataset = tutorial_datasets.get_dataset(str(folder or ""))
        dataset_folder = tutorial_datasets.find_image_folder(dataset)
        if dataset_folder is None:
            raise DataError("page.not_fetched", title=dataset.title)
        return DataSource(TUTORIAL_SOURCE, dataset_folder, *shares)
    return DataSource(FOLDER_SOURCE, _resolve_folder(profile, folder), *shares)


def _resolve_folder(profile: ServerProfile, folder: str) -> Path:
    """Resolve the path of a folder, a zip or a list that a person typed.

    Args:
        profile: profile of this server.
        folder: path as typed.

    Returns:
        The real path, inside the allowed folder.

    Raises:
        DataError: no folder is named, it does not exist or must not be read.
    """
    if profile.data_root is None:
        raise DataError("page.no_folders")
    if not str(folder or "").strip():
        raise DataError("page.no_folder")
    real_path = resolve_inside(profile.data_root, folder)
    if not real_path.is_dir() and not locate.is_dataset_file(real_path):
        raise DataError("page.no_such_folder", folder=real_path, near=_find_nearest_folder(real_path))
    # A scan of this folder would reach other visitors' uploads, unless a folder on the way is one that scans ignore.
    if get_visitors_dir().is_relative_to(real_path) and not any(
        map(is_ignored, get_visitors_dir().relative_to(real_path).parts)
    ):
        raise DataError("page.outside", **describe_outside(profile.data_root, str(real_path)))
    return real_path


def join_location(source_id: str, list_name: str, layout: str = DEFAULT_LAYOUT, zip_names: str = "") -> str:
    """Join what `parse_source` takes as `folder`.

    Args:
        source_id: path, upload token or name of a data set.
        list_name: name of a list of excluded images, empty for none.
        layout: how the folders are read.
        zip_names: encoding of the names in an archive, empty to detect it.

    Returns:
        One to four lines.
    """
    return "\n".join([source_id, list_name, layout if layout != DEFAULT_LAYOUT else "", zip_names]).rstrip("\n")


def split_location(location: object) -> tuple[str, str, str, str]:
    """Return source id, list name, layout and encoding; the inverse of `join_location`, for whatever a page sends."""
    lines = (location if isinstance(location, str) else "").split("\n", 3)
    source_id, list_name, layout, zip_names, *_ = [*lines, "", "", ""]
    return source_id, list_name, validate_layout(layout), validate_encoding(zip_names)


def validate_encoding(encoding: object) -> str:
    """Return a value of the setting `zip_names`; empty for anything else that a page may send."""
    return str(encoding) if encoding in NAME_ENCODINGS else ""


def validate_layout(layout: object) -> str:
    """Return a value of the setting `layout`; the default for anything else that a page may send."""
    return str(layout) if layout in FIELDS["layout"][0].choices else DEFAULT_LAYOUT


def make_exclusion_key(sample: str, source_id: str) -> str:
    """Return the key under which a browser remembers the excluded images of a choice.

    `_LOCATION_JS` in `ftlab/ui/dataset/tab.py` builds the same key in the browser.

    Args:
        sample: as in `DataSource`.
        source_id: path, upload token or name of a data set.

    Returns:
        The key.
    """
    return f"{sample} {source_id}" if sample in (FOLDER_SOURCE, UPLOAD_SOURCE, TUTORIAL_SOURCE) else sample


def scan_source(
    source: DataSource, *, fresh: bool = False, progress: Callable[[int, int], None] | None = None
) -> Catalog:
    """Return the catalog of a source, scanning its files if that was not done before.

    Files are scanned once, also when several handlers ask at the same time; other shares only change the random split.
    Propagates `DataError` (unusable folder) and `ConfigError` (the shares leave nothing to train on).

    Args:
        source: as `parse_source` returns it.
        fresh: scan again, as the files may have changed.
        progress: called with the number of files done and the total.

    Returns:
        The catalog, without the excluded images.
    """
    scan_key = _make_scan_key(source)
    with _lock:
        # The first to ask scans, without the lock; later ones wait for its future.
        future = None if fresh else scan_futures.get(scan_key)
        is_scanner = future is None
        if future is None:
            future = scan_futures[scan_key] = Future()
        # Least recently used first; the running scan is last, so it is not the one that is dropped.
        scan_futures.move_to_end(scan_key)
        while len(scan_futures) > _MAX_CACHED_SCANS:
            scan_futures.popitem(last=False)
    if is_scanner:
        try:
            folder = source.folder or sample_sets.ensure_sample_set(source.sample, progress=progress)
            reading = {"layout": source.layout, "zip_names": source.zip_names}
            future.set_result(scan.scan(folder, seed=DEFAULT_SPLIT_SEED, progress=progress, **reading))  # type: ignore[arg-type]
        except BaseException as error:
            # A failed scan is not cached: the next question tries again. Those that wait get the error.
            with _lock:
                if scan_futures.get(scan_key) is future:
                    del scan_futures[scan_key]
            future.set_exception(error)
    return _apply_split(source, future.result())


def _make_scan_key(source: DataSource) -> tuple[str, Path | None, str, str]:
    """Return the key of the scan of a source in `scan_futures`."""
    return source.sample, source.folder, source.layout, source.zip_names


def find_scanned_catalog(source: DataSource) -> Catalog | None:
    """Return the catalog of a source if it was scanned already; never waits."""
    with _lock:
        future = scan_futures.get(_make_scan_key(source))
    is_scanned = future is not None and future.done() and future.exception() is None
    return _apply_split(source, future.result()) if future is not None and is_scanned else None


def resplit_catalog(scanned: Catalog, config: TrainConfig) -> Catalog:
    """Return a catalog as a training with this configuration splits it.

    The page splits by the default seed and the default `holdout`; a training may have others.

    Args:
        scanned: catalog of the page.
        config: configuration of the training.

    Returns:
        The catalog of the training.
    """
    shares = {"val_share": config.val_share, "test_share": config.test_share}
    if config.seed != DEFAULT_SPLIT_SEED:
        scanned = scan.resplit(scanned, **shares, seed=config.seed)
    return scan.hold_out(scanned, config.holdout, test_share=config.test_share, seed=config.seed)


def _apply_split(source: DataSource, scanned: Catalog) -> Catalog:
    """Return the scanned images without excluded ones, split by the source's shares; the last few are cached."""
    with _lock:
        base_catalog, split_catalog = split_catalogs.get(source, (None, None))
    # By identity: a fresh scan makes a new catalog, and the cached split of the old one is outdated.
    if split_catalog is None or base_catalog is not scanned:
        included = (
            exclusions.exclude_images(scanned, exclusions.read_exclusions(source.exclusion_file))
            if source.exclusion_file
            else scanned
        )
        shares = {"val_share": source.val_share, "test_share": source.test_share}
        split_catalog = scan.resplit(included, **shares, seed=DEFAULT_SPLIT_SEED)
        with _lock:
            split_catalogs[source] = scanned, split_catalog
            while len(split_catalogs) > _MAX_CACHED_SCANS:
                split_catalogs.popitem(last=False)
    return split_catalog


DEFAULT_SPLIT_SEED = int(FIELDS["seed"][1])
"""Seed of the split that the page shows: the default of a training."""
scan_futures: OrderedDict[tuple[str, Path | None, str, str], Future[Catalog]] = OrderedDict()
"""Running and finished scans by sample, folder, layout and encoding of names, least recently used first."""
split_catalogs: OrderedDict[DataSource, tuple[Catalog, Catalog]] = OrderedDict()
"""Scanned catalog and the one split from it, by source."""
_lock = threading.Lock()


def clamp_share(name: str, value: object) -> float:
    """Return a fraction within the bounds of its field; a slider's value may come from anyone.

    Args:
        name: `val_share` or `test_share`.
        value: what the page sent.

    Returns:
        The fraction; the default where `value` is not a number.
    """
    field_spec, default = FIELDS[name]
    # bool is a subclass of int.
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return min(max(float(value), field_spec.low or 0.0), field_spec.high or 1.0)
    return float(default)


def _find_nearest_folder(folder: Path) -> Path:
    """Return the innermost existing folder of a path, which shows where the typing error is."""
    return next(parent for parent in folder.parents if parent.is_dir())
