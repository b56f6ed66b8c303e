"""Rules for settings that are valid on their own but contradict each other.

A setting that merely has no effect in combination with another one (momentum with Adam) is allowed: its hint says where
it has an effect.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from ftlab.config.fields import format_flag
from ftlab.core.errors import ConfigError

FieldValues = Mapping[str, Any]

VALUE_RANGE_BITS = ("8", "10", "12", "14", "16")
"""Numbers of bits that `value_range` takes."""
_LAYER_PATTERN = re.compile(r"|1(\.0*)?|0?\.\d*[1-9]\d*|[A-Za-z_][\w.-]*")
"""Empty, `auto`, the path of a layer, or a fraction of the layers in (0, 1]."""
_COMPILED_MODES = ("yes", "record")
"""Values of `compile` that require the set of trainable parameters to stay the same."""


def _uses_cached_activations(v: FieldValues) -> bool:
    """Return whether the activations of the frozen layers are computed once."""
    return bool(v["activations"] == "cached")


def _never_trains_on_images(v: FieldValues) -> bool:
    """Return whether all steps take cached activations: none follows that trains all layers."""
    return _uses_cached_activations(v) and not v["unfreeze_all_epoch"]


def _has_phases(v: FieldValues) -> bool:
    """Return whether more layers are trained later than at the beginning."""
    return bool(v["unfreeze_epoch"] or v["unfreeze_all_epoch"])


def _uses_cached_features(v: FieldValues) -> bool:
    """Return whether the backbone's features are computed once and the head is trained on them."""
    return bool(v["mode"] == "frozen" and v["features"] == "cached")


CONFLICT_RULES: tuple[tuple[str, tuple[str, ...], Callable[[FieldValues], bool]], ...] = (
    # In frozen mode the backbone is never trained: its settings would be ignored without a word.
    ("frozen_rate", ("backbone_lr", "mode"), lambda v: v["mode"] == "frozen" and v["backbone_lr"] > 0),
    # A row of the ImageNet classifier reads the backbone's features, and belongs to one class.
    ("hidden_imagenet", ("head_init", "head_hidden"), lambda v: v["head_init"] == "imagenet" and v["head_hidden"] > 0),
    (
        "logit_imagenet",
        ("head_init", "head_kind"),
        lambda v: v["head_init"] == "imagenet" and v["head_kind"] == "logit",
    ),
    ("frozen_decay", ("layer_decay", "mode"), lambda v: v["mode"] == "frozen" and v["layer_decay"] < 1),
    ("frozen_phases", ("unfreeze_epoch", "mode"), lambda v: v["mode"] == "frozen" and v["unfreeze_epoch"] > 0),
    ("frozen_part", ("unfreeze_from", "mode"), lambda v: v["mode"] == "frozen" and v["unfreeze_from"] != ""),
    # In scratch mode the backbone is random: there is nothing to preserve by freezing it.
    ("scratch_phases", ("unfreeze_epoch", "mode"), lambda v: v["mode"] == "scratch" and v["unfreeze_epoch"] > 0),
    ("scratch_part", ("unfreeze_from", "mode"), lambda v: v["mode"] == "scratch" and v["unfreeze_from"] != ""),
    # The second phase would never begin.
    ("late_phase", ("unfreeze_epoch", "epochs"), lambda v: v["unfreeze_epoch"] >= v["epochs"]),
    ("all_mode", ("unfreeze_all_epoch", "mode"), lambda v: v["mode"] != "full" and v["unfreeze_all_epoch"] > 0),
    # Without a layer to begin at, all are trained already.
    (
        "all_alone",
        ("unfreeze_all_epoch", "unfreeze_from"),
        lambda v: v["unfreeze_all_epoch"] > 0 and not v["unfreeze_from"],
    ),
    ("all_late", ("unfreeze_all_epoch", "epochs"), lambda v: v["unfreeze_all_epoch"] >= v["epochs"]),
    # The upper layers would be trained for no epoch.
    (
        "all_early",
        ("unfreeze_all_epoch", "unfreeze_epoch"),
        lambda v: 0 < v["unfreeze_all_epoch"] <= v["unfreeze_epoch"],
    ),
    # These act in a later phase only, and without these epochs there is none.
    (
        "gradual_alone",
        ("gradual_unfreezing", "unfreeze_epoch"),
        lambda v: not v["unfreeze_epoch"] and v["gradual_unfreezing"],
    ),
    ("rate_alone", ("phase2_lr", "unfreeze_epoch"), lambda v: not _has_phases(v) and v["phase2_lr"] > 0),
    (
        "optimizer_alone",
        ("phase2_optimizer", "unfreeze_epoch"),
        lambda v: not _has_phases(v) and v["phase2_optimizer"] != "same",
    ),
    (
        "third_alone",
        ("phase3_lr", "unfreeze_epoch", "unfreeze_all_epoch"),
        lambda v: v["phase3_lr"] > 0 and not (v["unfreeze_epoch"] and v["unfreeze_all_epoch"]),
    ),
    # Another set of trainable parameters in each epoch means another network to compile or capture.
    (
        "compile_gradual",
        ("compile", "gradual_unfreezing"),
        lambda v: v["compile"] in _COMPILED_MODES and v["gradual_unfreezing"],
    ),
    # With cached features only the head is trained, and the backbone has seen its images before the training.
    ("compile_cached", ("compile", "features"), lambda v: _uses_cached_features(v) and v["compile"] in _COMPILED_MODES),
    (
        "vary_cached",
        ("augment_device", "features"),
        lambda v: _uses_cached_features(v) and v["augment_device"] == "gpu",
    ),
    ("statistics_cached", ("batchnorm", "features"), lambda v: _uses_cached_features(v) and v["batchnorm"] == "train"),
    # Only a part that stays frozen gives the same activations in each epoch.
    ("activations_mode", ("activations", "mode"), lambda v: _uses_cached_activations(v) and v["mode"] != "full"),
    (
        "activations_whole",
        ("activations", "unfreeze_from"),
        lambda v: _uses_cached_activations(v) and not v["unfreeze_from"],
    ),
    (
        "activations_statistics",
        ("batchnorm", "activations"),
        lambda v: _uses_cached_activations(v) and v["batchnorm"] == "train",
    ),
    ("activations_cutmix", ("cutmix", "activations"), lambda v: _uses_cached_activations(v) and v["cutmix"] > 0),
    (
        "activations_vary",
        ("augment_device", "activations"),
        lambda v: _never_trains_on_images(v) and v["augment_device"] == "gpu",
    ),
    (
        "activations_compile",
        ("compile", "activations"),
        lambda v: _never_trains_on_images(v) and v["compile"] in _COMPILED_MODES,
    ),
    ("statistics_random", ("batchnorm", "mode"), lambda v: v["mode"] == "scratch" and v["batchnorm"] == "frozen"),
    ("cutmix_cached", ("cutmix", "features"), lambda v: _uses_cached_features(v) and v["cutmix"] > 0),
    # Either compensates the imbalance: together they would favor rare classes.
    ("balanced_twice", ("class_weights", "sampling"), lambda v: v["class_weights"] == v["sampling"] == "balanced"),
)
"""Each rule: its reason (`error.contradiction.<reason>` in the message file), the fields that its sentence names as
{a}, {b} …, and whether it is violated by the values of all fields.
"""


def check_image_sizes(side: int | None, resize: int | None, crop_size: int | None) -> None:
    """Check that no crop is larger than the image it is cut from; None, not known yet, passes.

    Args:
        side: side in pixels of the square that the network gets.
        resize: pixels to which an image is resized before the evaluation crop.
        crop_size: pixels to which a random crop is resized before its center is cut out.

    Raises:
        ConfigError: the crop is larger.
    """
    for name, size in (("resize", resize), ("crop_size", crop_size)):
        if side is not None and size is not None and size < side:
            raise ConfigError("config.side_larger", name=format_flag(name), value=size, side=side)


def check_layer_form(setting: str) -> None:
    """Check the form of `unfreeze_from`; whether the backbone has such a layer is known once it is built.

    Raises:
        ConfigError: it names no layer in any form.
    """
    if not _LAYER_PATTERN.fullmatch(setting):
        raise ConfigError("config.layer_form", name=format_flag("unfreeze_from"), value=setting)


def check_sources(values: FieldValues) -> None:
    """Check that images and weights come from one source each, and that images are left to train on.

    Raises:
        ConfigError: they do not.
    """
    if values["data"] and values["sample"]:
        raise ConfigError("config.two_sources")
    if values["init_from"] and values["mode"] == "scratch":
        raise ConfigError("config.init_scratch")
    if values["head_init"] == "imagenet" and (values["init_from"] or values["mode"] == "scratch"):
        raise ConfigError("config.head_imagenet")
    if values["val_share"] + values["test_share"] > 0.95:
        raise ConfigError("config.shares", val=values["val_share"], test=values["test_share"])


def parse_value_range(setting: str) -> tuple[float, float] | None:
    """Return the values of a deep image that become black and white; None where they are to be estimated (`auto`).

    Args:
        setting: `auto`, a number of bits, or the two values, such as `0,4095`.

    Raises:
        ConfigError: it is none of these.
    """
    if setting == "auto":
        return None
    if setting.strip() in VALUE_RANGE_BITS:
        return 0.0, 2.0 ** int(setting) - 1
    try:
        low, high = map(float, setting.split(","))
    except ValueError:
        low = high = 0.0
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError("config.value_range", name=format_flag("value_range"), value=setting)
    return low, high


def check_conflicts(values: FieldValues) -> None:
    """Check that the values of all fields are compatible.

    Raises:
        ConfigError: two of them contradict each other; the message says why.
    """
    for reason, field_names, is_conflict in CONFLICT_RULES:
        if is_conflict(values):
            raise ConfigError(
                f"contradiction.{reason}", **dict(zip("abc", map(format_flag, field_names), strict=False))
            )
