"""Settings that fit each by itself and contradict each other: what is refused, and why.

A knob that merely has no effect beside another (momentum with Adam) is not refused: its hint says where it acts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ftlab.errors import ConfigError

Values = Mapping[str, Any]

RULES: tuple[tuple[str, tuple[str, ...], Callable[[Values], bool]], ...] = (
    ("frozen_rate", ("backbone_rate", "mode"), lambda v: v["mode"] == "frozen" and v["backbone_rate"] > 0),
    ("hidden_imagenet", ("head_init", "head_hidden"), lambda v: v["head_init"] == "imagenet" and v["head_hidden"] > 0),
    (
        "logit_imagenet",
        ("head_init", "head_kind"),
        lambda v: v["head_init"] == "imagenet" and v["head_kind"] == "logit",
    ),
    ("frozen_decay", ("layer_decay", "mode"), lambda v: v["mode"] == "frozen" and v["layer_decay"] < 1),
    (
        "cutmix_cached",
        ("cutmix", "features"),
        lambda v: v["cutmix"] > 0 and v["mode"] == "frozen" and v["features"] == "cached",
    ),
    (
        "balanced_twice",
        ("class_weights", "sampling"),
        lambda v: v["class_weights"] == "balanced" and v["sampling"] == "balanced",
    ),
)
"""Each: its reason (`error.contradiction.<reason>` in the words), the knobs that its sentence names as {a}, {b} …, and
whether it holds for the values of all knobs."""


def refuse(values: Values, flag: Callable[[str], str]) -> None:
    """Find out whether the values of all knobs go together.

    Args:
        values: by knob.
        flag: the name of a knob for people.

    Raises:
        ConfigError: they do not, and why.
    """
    for reason, knobs, holds in RULES:
        if holds(values):
            named = zip("abc", map(flag, knobs), strict=False)
            raise ConfigError(f"contradiction.{reason}", **dict(named))
