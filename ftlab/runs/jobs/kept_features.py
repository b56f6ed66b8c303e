"""Whether an earlier run has left the features that a training needs in the cache of features. No torch.

The cache itself is keyed by the content of images and weights, which takes seconds to hash; for an estimate the
settings and the listing of the images tell enough.
"""

from __future__ import annotations

from pathlib import Path

from ftlab.config.train_config import FIELDS, TrainConfig, fill_defaults
from ftlab.core import kv_cache
from ftlab.core.errors import FtlabError
from ftlab.runs import run_store
from ftlab.runs.directory import Run

MAX_CHECKED_RUNS = 40
"""Newest runs that are looked at; what older ones left may have been evicted."""
_FEATURE_GROUPS = ("model", "origin", "pixels")
_FEATURE_FIELDS = ("seed", "holdout", "device", "precision", "engine", "feature_precision")
"""Settings besides those of the groups that features depend on."""


def has_kept_features(config: TrainConfig, fingerprint: str, runs_dir: Path) -> bool:
    """Return whether a run in `runs_dir` has computed the features that a training would need, and they were kept.

    Args:
        config: of the training.
        fingerprint: of its images, as `Catalog.compute_fingerprint` returns it.
        runs_dir: folder of the runs.
    """
    config = fill_defaults(config)
    if not config.caches_features or not kv_cache.get_feature_file().is_file():
        return False
    wanted_values = _list_feature_values(config)
    runs = (Run(runs_dir / name) for name in run_store.list_run_names(runs_dir)[:MAX_CHECKED_RUNS])
    return any(_has_computed(run, wanted_values, fingerprint) for run in runs)


def _has_computed(run: Run, wanted_values: list[object], fingerprint: str) -> bool:
    """Return whether a run has trained on features of these settings and images."""
    # The first weights are saved after the first epoch, when all features were computed.
    if not run.best_weights_path.is_file():
        return False
    try:
        values = _list_feature_values(fill_defaults(run.load_config()))
        return values == wanted_values and run.read_json("split.json").get("manifest") == fingerprint
    except FtlabError:
        return False


def _list_feature_values(config: TrainConfig) -> list[object]:
    """Return the values of the settings that features depend on."""
    return [
        getattr(config, name)
        for name, (field_spec, _) in FIELDS.items()
        if field_spec.group in _FEATURE_GROUPS or name in _FEATURE_FIELDS
    ]
