"""Settings that fit each by itself and contradict each other: what is refused, and why.

A knob that merely has no effect beside another (momentum with Adam) is not refused: its hint says where it acts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ftlab.config.fields import format_flag
from ftlab.core.errors import ConfigError

FieldValues = Mapping[str, Any]


_COMPILED_MODES = ("yes", "record")
"""Ways of `compile` that hold as long as what learns stays the same."""


def _uses_cached_features(v: FieldValues) -> bool:
    return bool(v["mode"] == "frozen" and v["features"] == "cached")


CONFLICT_RULES: tuple[tuple[str, tuple[str, ...], Callable[[FieldValues], bool]], ...] = (
    ("frozen_rate", ("backbone_rate", "mode"), lambda v: v["mode"] == "frozen" and v["backbone_rate"] > 0),
    ("hidden_imagenet", ("head_init", "head_hidden"), lambda v: v["head_init"] == "imagenet" and v["head_hidden"] > 0),
    (
        "logit_imagenet",
        ("head_init", "head_kind"),
        lambda v: v["head_init"] == "imagenet" and v["head_kind"] == "logit",
    ),
    ("frozen_decay", ("layer_decay", "mode"), lambda v: v["mode"] == "frozen" and v["layer_decay"] < 1),
    ("frozen_phases", ("unfreeze_epoch", "mode"), lambda v: v["mode"] == "frozen" and v["unfreeze_epoch"] > 0),
    ("frozen_part", ("unfreeze_from", "mode"), lambda v: v["mode"] == "frozen" and v["unfreeze_from"] != ""),
    ("scratch_phases", ("unfreeze_epoch", "mode"), lambda v: v["mode"] == "scratch" and v["unfreeze_epoch"] > 0),
    ("scratch_part", ("unfreeze_from", "mode"), lambda v: v["mode"] == "scratch" and v["unfreeze_from"] != ""),
    ("late_phase", ("unfreeze_epoch", "epochs"), lambda v: v["unfreeze_epoch"] >= v["epochs"]),
    ("gradual_alone", ("gradual", "unfreeze_epoch"), lambda v: not v["unfreeze_epoch"] and v["gradual"] == "yes"),
    ("rate_alone", ("phase2_rate", "unfreeze_epoch"), lambda v: not v["unfreeze_epoch"] and v["phase2_rate"] > 0),
    (
        "optimizer_alone",
        ("phase2_optimizer", "unfreeze_epoch"),
        lambda v: not v["unfreeze_epoch"] and v["phase2_optimizer"] != "same",
    ),
    ("compile_gradual", ("compile", "gradual"), lambda v: v["compile"] in _COMPILED_MODES and v["gradual"] == "yes"),
    ("compile_cached", ("compile", "features"), lambda v: _uses_cached_features(v) and v["compile"] in _COMPILED_MODES),
    ("vary_cached", ("vary_on", "features"), lambda v: _uses_cached_features(v) and v["vary_on"] == "device"),
    ("statistics_cached", ("batchnorm", "features"), lambda v: _uses_cached_features(v) and v["batchnorm"] == "train"),
    ("statistics_random", ("batchnorm", "mode"), lambda v: v["mode"] == "scratch" and v["batchnorm"] == "frozen"),
    ("cutmix_cached", ("cutmix", "features"), lambda v: _uses_cached_features(v) and v["cutmix"] > 0),
    ("balanced_twice", ("class_weights", "sampling"), lambda v: v["class_weights"] == v["sampling"] == "balanced"),
)
"""Each: its reason (`error.contradiction.<reason>` in the words), the knobs that its sentence names as {a}, {b} …, and
whether it holds for the values of all knobs."""


def check_conflicts(values: FieldValues) -> None:
    """Find out whether the values of all knobs go together.

    Raises:
        ConfigError: they do not, and why.
    """
    for reason, field_names, is_conflict in CONFLICT_RULES:
        if is_conflict(values):
            raise ConfigError(
                f"contradiction.{reason}", **dict(zip("abc", map(format_flag, field_names), strict=False))
            )
