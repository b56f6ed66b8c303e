"""Cache of passed trials, so that a training that was tried before starts without one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib.metadata import version

from accelerate import Accelerator

import ftlab
from ftlab.config.backbones import BackboneSpec
from ftlab.config.train_config import TrainConfig
from ftlab.core import user_dirs
from ftlab.core.kv_cache import DiskCache
from ftlab.training.trial.step_trial import TrialResult

MIN_CACHED_SECONDS = 0.2
"""Time of a step below which its trial is not cached: to look it up would take as long."""
_MAX_CACHE_BYTES = 2_000_000
"""Size limit of the file: some ten thousand trials."""
_TRIAL_FIELDS = (
    "mode", "batch_size", "grad_accum_steps", "batchnorm", "features", "precision", "head_kind", "head_hidden",
    "dropout", "unfreeze_epoch", "unfreeze_from", "unfreeze_all_epoch", "gradual_unfreezing", "epochs",
)  # fmt: skip
"""Settings that decide what is trained, and how much of it at once."""


class TrialCache:
    """Passed trials of one user, in a file of `FTLAB_HOME`."""

    def __init__(self) -> None:
        """Refer to the file; it is neither opened nor created."""
        self._cache = DiskCache(user_dirs.get_ftlab_home() / "trials.sqlite", _MAX_CACHE_BYTES)

    def find(self, key: bytes) -> TrialResult | None:
        """Return the result of a trial that passed before; None where there was none."""
        value = self._cache.get([key]).get(key)
        try:
            return TrialResult(**json.loads(value)) if value else None
        except (ValueError, TypeError):  # written by another version, or damaged: it is tried again
            return None

    def store(self, key: bytes, result: TrialResult) -> None:
        """Store the result of a trial, if the trial took long enough to be worth it."""
        if result.seconds >= MIN_CACHED_SECONDS:
            self._cache.put([(key, json.dumps(asdict(result)).encode())])


def compute_trial_key(
    spec: BackboneSpec, config: TrainConfig, image_size: int, forward_sizes: tuple[int, int], accelerator: Accelerator
) -> bytes:
    """Return the hash of all that the result of a trial depends on.

    Args:
        spec: the backbone.
        config: the resolved configuration.
        image_size: side of the images in pixels.
        forward_sizes: fewest and most images that pass through the network at once.
        accelerator: the device.
    """
    versions = [ftlab.__version__, *(version(package) for package in ("torch", "torchvision", "timm"))]
    settings = {name: getattr(config, name) for name in _TRIAL_FIELDS}
    facts = [versions, spec.to_json(), settings, image_size, forward_sizes, accelerator.device.type]
    return hashlib.sha256(json.dumps(facts, default=str).encode()).digest()
