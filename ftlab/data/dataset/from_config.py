"""The pictures that a configuration names, looked through and dealt as it says. No torch."""

from __future__ import annotations

from collections.abc import Callable

from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError, DataError
from ftlab.data.dataset import exclusions
from ftlab.data.dataset.catalog import Catalog, scan


def resolve_dataset(
    config: TrainConfig, progress: Callable[[int, int], None] | None = None, check: bool = True
) -> Catalog:
    """A scan of the folder or the sample set.

    Args:
        config: says what, how it is dealt and what is left out.
        progress: told of files checked and files in all.
        check: as for `scan`.

    Raises:
        ConfigError: neither a folder nor a sample set is named.
        DataError: the folder or the list of what is left out cannot be used, or nothing is left to validate on.
    """
    if not (config.data or config.sample):
        raise ConfigError("config.no_source")
    folder = _ensure_sample_set(config.sample) if config.sample else config.data
    catalog = scan(
        folder,
        **config.split_settings,
        exclude=exclusions.read_exclusions(config.exclude),
        check=check,
        progress=progress,
    )
    if not catalog.splits["val"]:
        raise DataError("data.too_few", folder=folder)
    return catalog


def _ensure_sample_set(sample: str) -> str:
    from ftlab.data.samples import sample_sets  # what draws takes a while to load, and few trainings need it

    return str(sample_sets.ensure_sample_set(sample))
