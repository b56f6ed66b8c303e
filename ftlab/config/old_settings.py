"""Settings as earlier versions spelled them: old names and values still load from files and flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED_SETTINGS = {
    "side": "image_size",
    "crop_side": "crop_size",
    "accumulate": "grad_accum_steps",
    "clip_norm": "grad_clip_norm",
    "backbone_rate": "backbone_lr",
    "head_multiplier": "head_lr_multiplier",
    "warmup": "warmup_fraction",
    "step_factor": "lr_gamma",
    "step_epochs": "lr_step_epochs",
    "plateau_cuts": "plateau_max_reductions",
    "gradual": "gradual_unfreezing",
    "early_stop": "early_stopping_patience",
    "best_by": "monitor",
    "keep_every": "save_every_epochs",
    "ema": "ema_decay",
    "decay_norms": "decay_norm_and_bias",
    "held_out": "holdout",
    "init": "init_from",
    "rename": "rename_keys",
    "phase2_rate": "phase2_lr",
    "vary_on": "augment_device",
    "keep_decoded": "image_cache_mb",
    "workers": "num_workers",
    "threads": "torch_num_threads",
    "flip": "hflip",
    "flip_vertical": "vflip",
    "erase": "random_erasing",
    "normalise": "normalization",
    "feature_views": "cached_views",
}
"""Today's name of a setting by its old one."""

_SWITCHES = ("nesterov", "gradual_unfreezing", "decay_norm_and_bias", "fused")
_SWITCH_VALUES = {"yes": True, "no": False}
_RENAMED_VALUES = {
    "augment_device": {"processor": "cpu", "device": "gpu"},
    "batchnorm": {"auto": "trainable"},
}


def upgrade_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings under today's names and with today's values.

    Args:
        values: settings by name, old or new. A setting that stands under both names keeps the value of the new one.

    Returns:
        A new dict; unknown names and values pass through, for the configuration to refuse.
    """
    upgraded: dict[str, Any] = {}
    for name, value in values.items():
        new_name = RENAMED_SETTINGS.get(name, name)
        if new_name != name and new_name in values:
            continue
        upgraded[new_name] = upgrade_value(new_name, value)
    return upgraded


def upgrade_value(name: str, value: Any) -> Any:
    """Return the value of a setting as today's version spells it.

    Args:
        name: today's name of the setting.
        value: its value, in an old or a new spelling: `yes` and `no` of a switch become booleans, and `auto` of
            `fused` becomes None, "chosen for you".

    Returns:
        The new spelling; a value that has none is returned unchanged.
    """
    if not isinstance(value, str):
        return value
    if name in _SWITCHES:
        return None if name == "fused" and value == "auto" else _SWITCH_VALUES.get(value, value)
    return _RENAMED_VALUES.get(name, {}).get(value, value)
