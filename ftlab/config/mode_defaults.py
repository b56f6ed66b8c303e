"""Defaults of the settings that depend on mode and backbone."""

from __future__ import annotations

from typing import Any

from ftlab.config import backbones


def get_mode_defaults(backbone: str, mode: str) -> dict[str, Any]:
    """Return the values of what is "chosen automatically" for a backbone and a mode, independently of the data.

    Args:
        backbone: name of the backbone.
        mode: `frozen`, `full` or `scratch`.

    Returns:
        Values by the name of the setting.
    """
    full_rate, scratch_rate = backbones.get_default_rates(backbone)
    common = {"head_lr_multiplier": 1.0, "weight_decay": 0.05, "augment": "crop", "batchnorm": "trainable"}
    scratch = {"epochs": 30, "batch_size": 16, "learning_rate": scratch_rate, **common}
    # The new head learns ten times as fast as the pretrained backbone.
    full = {**scratch, "epochs": 8, "learning_rate": full_rate, "head_lr_multiplier": 10.0, "weight_decay": 0.01}
    # Small batches of few images give worse statistics than the pretrained ones (docs/training.md has the figures).
    full["batchnorm"] = "frozen"
    # The two cached views of an image are then its evaluation crop and the mirror image of that.
    frozen = {**scratch, "batch_size": 32, "learning_rate": 1e-3, "augment": "flip"}
    return {"frozen": frozen, "full": full, "scratch": scratch}[mode]
