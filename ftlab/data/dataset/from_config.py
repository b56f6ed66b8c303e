"""Resolve the data set that a configuration names: locate its source, read its exclusions, scan it. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError, DataError
from ftlab.data.dataset import exclusions
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.scan import scan
from ftlab.data.shards.shard_files import is_url
from ftlab.data.shards.shard_list import find_shards, is_shard_source
from ftlab.data.sources.locate import DatasetLocation, locate_dataset

ResolveProgress = Callable[[int, int], None]
"""Called with the number of files done (unpacked, drawn or verified) and the number of all files."""


@dataclass(frozen=True)
class DatasetSource:
    """Part of a configuration's data that was located before its run was created; `resolve_dataset` resolves the rest.

    Attributes:
        location: where the folder, archive or manifest is; None for a sample set, or where nobody has looked yet.
        sample_folder: folder of the images of the sample set, once it is drawn.
        excluded_paths: content of the exclusion list; None where it was not read yet.
    """

    location: DatasetLocation | None = None
    sample_folder: Path | None = None
    excluded_paths: tuple[str, ...] | None = None


def locate_source(
    config: TrainConfig, progress: ResolveProgress | None = None, *, run_exists: bool = False
) -> DatasetSource:
    """Locate the data of a configuration before its run is created, so that no run is created for missing data.

    An exclusion list, folder, archive or manifest that cannot be read raises a `DataError`, in this order.

    Args:
        config: has `data` or `sample`.
        progress: called while an archive is unpacked or a sample set is drawn.
        run_exists: the run was created already, by the page. Only draw a sample set then, and leave errors of the
            folder and the exclusion list to `resolve_dataset`: the training records them in the run.

    Returns:
        What `resolve_dataset` need not resolve again.
    """
    excluded_paths = None if run_exists else exclusions.read_exclusions(config.exclude)
    if config.sample:
        return DatasetSource(sample_folder=_draw_sample_set(config.sample, progress), excluded_paths=excluded_paths)
    if is_shard_source(config.data):
        if not run_exists:
            _check_shards(config)
        return DatasetSource(excluded_paths=excluded_paths)
    location = None if run_exists else locate_dataset(config.data, progress, config.zip_names)
    return DatasetSource(location=location, excluded_paths=excluded_paths)


def resolve_dataset(
    config: TrainConfig,
    progress: ResolveProgress | None = None,
    *,
    source: DatasetSource | None = None,
    check: bool = True,
) -> Catalog:
    """Scan the folder, archive, manifest or sample set that a configuration names, split as it says.

    A source or an exclusion list that cannot be used raises a `DataError`.

    Args:
        config: names the data, the split and the exclusion list.
        progress: called with the number of files done and of all files.
        source: result of `locate_source` for the same configuration; what it holds is not looked up again.
        check: verify that the images can be decoded, as for `scan`.

    Returns:
        The catalog; its validation split is not empty.

    Raises:
        ConfigError: neither a folder nor a sample set is named.
        DataError: no image is left to validate on.
    """
    if not (config.data or config.sample):
        raise ConfigError("config.no_source")
    source = source or DatasetSource()
    folder = str(source.sample_folder or _draw_sample_set(config.sample)) if config.sample else config.data
    excluded_paths = source.excluded_paths
    if excluded_paths is None:
        excluded_paths = exclusions.read_exclusions(config.exclude)
    catalog = scan(
        source.location or folder, **config.split_settings, exclude=excluded_paths, check=check, progress=progress
    )
    if not catalog.splits["val"]:
        raise DataError("data.too_few", folder=folder)
    return catalog


def _check_shards(config: TrainConfig) -> None:
    """Check that there are shards, and that a training can read them as often as it must.

    Args:
        config: names the shards.

    Raises:
        ConfigError: they lie on a server, and the images would be read in each epoch.
    """
    find_shards(config.data)
    if is_url(config.data) and config.trains_on_images:
        raise ConfigError("config.shards_epochs")


def _draw_sample_set(sample: str, progress: ResolveProgress | None = None) -> Path:
    """Return the folder of a sample set, drawn if it does not exist yet."""
    from ftlab.data.samples import sample_sets  # slow to import (OpenCV), and few trainings need it

    return sample_sets.ensure_sample_set(sample, progress=progress)
