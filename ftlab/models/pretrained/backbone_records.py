"""Records of backbones whose features were computed or found for a data set. No torch.

A training with the same data set, backbone and seed will most likely find its features in the cache. It then computes
nothing with the backbone: `models.stored_backbone` takes the tensors from the weights file by the record, and the
library that defines the backbone need not be imported. A record decides nothing: where features turn out to be missing,
the backbone is built as usual.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version

import ftlab
from ftlab.config import backbones
from ftlab.config.train_config import AUGMENTATION_FIELDS, TrainConfig, compute_image_sizes, fill_defaults
from ftlab.core import user_dirs
from ftlab.core.kv_cache import DiskCache
from ftlab.models.pretrained import weights

MAX_WEIGHTS_MEGABYTES = 400.0
"""Size of a weights file above which no record is kept: tensors are compared with the file's before."""
_MAX_CACHE_BYTES = 20_000_000
"""Size limit of the file: some hundred records."""
_VIEW_FIELDS = ("seed", "augment", "crop_scale", "hflip", "rotate_border", *AUGMENTATION_FIELDS)
"""Settings that decide which views of a training image have features."""


def find_record(key: bytes) -> bytes | None:
    """Return the record of a key; None if there is none."""
    return _open_cache().get([key]).get(key)


def has_records() -> bool:
    """Return whether there is a record of any backbone."""
    return _open_cache().path.is_file()


def is_recorded(config: TrainConfig, fingerprint: str) -> bool:
    """Return whether there is a record for a configuration and a data set, see `compute_record_key`."""
    key = compute_record_key(config, fingerprint)
    return key is not None and find_record(key) is not None


def put_record(key: bytes, record: bytes) -> None:
    """Keep a record, and evict those that were unused longest beyond the size limit."""
    _open_cache().put([(key, record)])


def compute_record_key(config: TrainConfig, fingerprint: str) -> bytes | None:
    """Return the hash of all that a record depends on.

    Args:
        config: of the run, resolved or not.
        fingerprint: of the data set, see `Catalog.compute_fingerprint`.

    Returns:
        The key; None for a training that computes with its backbone, or whose backbone has other weights than those of
        its file.
    """
    spec = backbones.get_backbone_spec(config.backbone)
    is_special = bool(config.init_from or spec.auxiliary) or config.head_init == "imagenet"
    location = weights.locate_weights(spec) if config.caches_features and not is_special else None
    if location is None or not location.ready or location.megabytes > MAX_WEIGHTS_MEGABYTES:
        return None
    filled_config, file_stat = fill_defaults(config), location.file.stat()
    view_count = filled_config.views_per_image
    view_settings = [getattr(filled_config, name) for name in _VIEW_FIELDS] if view_count > 1 else []
    facts = [
        [ftlab.__version__, *(version(package) for package in ("torch", spec.source))],
        [spec.to_json(), str(location.file), file_stat.st_size, file_stat.st_mtime_ns],
        [config.init_seed, compute_image_sizes(spec, config), view_count, view_settings],
        fingerprint,
    ]
    return hashlib.sha256(json.dumps(facts, default=str).encode()).digest()


def _open_cache() -> DiskCache:
    return DiskCache(user_dirs.get_ftlab_home() / "backbones.sqlite", _MAX_CACHE_BYTES)
