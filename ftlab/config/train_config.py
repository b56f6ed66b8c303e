"""The configuration: one frozen dataclass, each knob written once.

Flags, widgets, `config.json` and the table in the docs derive from the fields and their metadata. A new knob is
one field here and its words (`knob.<name>.label`, `knob.<name>.hint`). No torch, no gradio.

`None` means "chosen for you": `fill_defaults` fills it in from the mode and the backbone, and the run keeps what was
chosen.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_type_hints

from ftlab.config import backbones, rules
from ftlab.config.fields import FieldSpec, config_field, format_flag, format_value, validate_value
from ftlab.core.errors import ConfigError

MODES = ("frozen", "full", "scratch")
SAMPLE_SET_NAMES = ("shapes", "shortcut")
OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop")
SCHEDULES = ("cosine", "constant", "step", "exponential", "onecycle", "plateau")
SPLIT_FIELDS = ("val_share", "test_share", "seed", "held_out")
"""Knobs that say which picture goes to which split, by the names of `catalog.scan`'s arguments."""
FOLDED_GROUPS = ("origin", "rates", "head", "phases", "guard", "pixels", "end", "machine")
"""Themes of the knobs that a form folds away, in its order."""
AUGMENTATION_FIELDS = (
    "flip_vertical",
    "rotate",
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "grayscale",
    "blur",
    "erase",
)
"""Knobs that vary training pictures once they are above 0."""
_UNFREEZE_FROM_PATTERN = re.compile(r"|1(\.0*)?|0?\.\d*[1-9]\d*|[A-Za-z_][\w.-]*")
"""A layer's path or a share of layers: above 0, at most 1."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All that decides a training.

    Raises:
        ConfigError: on construction, when a value is outside its bounds or two contradict each other.
    """

    data: str = config_field("", "data")
    sample: str = config_field("", "data", choices=("", *SAMPLE_SET_NAMES))
    val_share: float = config_field(0.15, "data", low=0.01, high=0.9, step=0.01)
    test_share: float = config_field(0.15, "data", low=0.0, high=0.9, step=0.01)
    exclude: str = config_field("", "data")

    backbone: str = config_field(backbones.DEFAULT_BACKBONE, "model")
    mode: str = config_field("frozen", "model", choices=MODES)

    epochs: int | None = config_field(None, "main", low=1, high=10_000, step=1)
    batch_size: int | None = config_field(None, "main", low=1, high=4096, step=1, unit="pictures")
    learning_rate: float | None = config_field(None, "main", low=1e-8, high=100.0)

    init: str = config_field("", "origin")
    init_part: str = config_field("all", "origin", choices=("all", "backbone", "head"))
    rename: str = config_field("", "origin")

    optimizer: str = config_field("adamw", "rates", choices=OPTIMIZERS)
    momentum: float = config_field(0.9, "rates", low=0.0, high=0.999, step=0.01)
    nesterov: str = config_field("yes", "rates", choices=("yes", "no"))
    head_multiplier: float | None = config_field(None, "rates", low=0.01, high=1000.0)
    backbone_rate: float = config_field(0.0, "rates", low=0.0, high=100.0)
    layer_decay: float = config_field(1.0, "rates", low=0.01, high=1.0, step=0.01)
    schedule: str = config_field("cosine", "rates", choices=SCHEDULES)
    warmup: float = config_field(0.05, "rates", low=0.0, high=0.9, step=0.01)
    step_epochs: int = config_field(0, "rates", low=0, high=10_000, step=1, unit="epochs")
    step_factor: float = config_field(0.1, "rates", low=0.001, high=0.999)
    plateau_mode: str = config_field("best", "rates", choices=("best", "previous"))
    plateau_patience: int = config_field(2, "rates", low=0, high=10_000, step=1, unit="epochs")
    plateau_cuts: int = config_field(0, "rates", low=0, high=100, step=1)
    accumulate: int = config_field(1, "rates", low=1, high=1024, step=1, unit="batches")
    clip_norm: float = config_field(0.0, "rates", low=0.0, high=1e6)
    loss_reduction: str = config_field("mean", "rates", choices=("mean", "sum"))

    head_kind: str = config_field("softmax", "head", choices=("softmax", "logit"))
    head_hidden: int = config_field(0, "head", low=0, high=65_536, step=1)
    head_init: str = config_field("small", "head", choices=("small", "default", "xavier", "imagenet"))
    head_seed: int | None = config_field(None, "head", low=0, high=2**31 - 1, step=1)

    unfreeze_epoch: int = config_field(0, "phases", low=0, high=9_999, step=1, unit="epochs")
    unfreeze_from: str = config_field("", "phases")
    gradual: str = config_field("no", "phases", choices=("yes", "no"))
    phase2_optimizer: str = config_field("same", "phases", choices=("same", *OPTIMIZERS))
    phase2_rate: float = config_field(0.0, "phases", low=0.0, high=100.0)
    batchnorm: str = config_field("auto", "phases", choices=("auto", "frozen", "train"))

    dropout: float = config_field(0.0, "guard", low=0.0, high=0.95, step=0.01)
    weight_decay: float | None = config_field(None, "guard", low=0.0, high=10.0)
    decay_norms: str = config_field("no", "guard", choices=("yes", "no"))
    label_smoothing: float = config_field(0.0, "guard", low=0.0, high=0.9, step=0.01)

    class_weights: str = config_field("none", "guard", choices=("none", "balanced"))
    sampling: str = config_field("shuffled", "guard", choices=("shuffled", "balanced"))
    mixup: float = config_field(0.0, "guard", low=0.0, high=10.0, step=0.1)
    cutmix: float = config_field(0.0, "guard", low=0.0, high=10.0, step=0.1)
    ema: float = config_field(0.0, "guard", low=0.0, high=0.99999)

    side: int | None = config_field(None, "pixels", low=32, high=1024, step=1, unit="pixels")
    resize: int | None = config_field(None, "pixels", low=32, high=2048, step=1, unit="pixels")
    resize_mode: str = config_field("short", "pixels", choices=("short", "squash"))
    normalise: str = config_field("weights", "pixels", choices=("weights", "estimated", "unit"))
    augment: str | None = config_field(None, "pixels", choices=("none", "flip", "crop"))
    crop_scale: float = config_field(0.35, "pixels", low=0.01, high=1.0, step=0.01)
    crop_ratio: float | None = config_field(None, "pixels", low=1.0, high=4.0)
    crop_side: int | None = config_field(None, "pixels", low=32, high=2048, step=1, unit="pixels")
    flip: float = config_field(0.5, "pixels", low=0.0, high=1.0, step=0.05)
    flip_vertical: float = config_field(0.0, "pixels", low=0.0, high=1.0, step=0.05)
    rotate: float = config_field(0.0, "pixels", low=0.0, high=180.0, step=1.0, unit="degrees")
    rotate_border: str = config_field("black", "pixels", choices=("black", "reflect"))
    brightness: float = config_field(0.0, "pixels", low=0.0, high=1.0, step=0.05)
    contrast: float = config_field(0.0, "pixels", low=0.0, high=1.0, step=0.05)
    saturation: float = config_field(0.0, "pixels", low=0.0, high=1.0, step=0.05)
    hue: float = config_field(0.0, "pixels", low=0.0, high=0.5, step=0.01)
    grayscale: float = config_field(0.0, "pixels", low=0.0, high=1.0, step=0.05)
    blur: float = config_field(0.0, "pixels", low=0.0, high=5.0, step=0.1, unit="pixels")
    erase: float = config_field(0.0, "pixels", low=0.0, high=1.0, step=0.05)
    features: str = config_field("cached", "pixels", choices=("cached", "fresh"))
    feature_views: int = config_field(2, "pixels", low=1, high=64, step=1)

    held_out: str = config_field("apart", "end", choices=("apart", "test_as_val", "test_from_val"))
    best_by: str = config_field("accuracy", "end", choices=("accuracy", "loss"))
    early_stop: int = config_field(0, "end", low=0, high=10_000, step=1, unit="epochs")
    keep_every: int = config_field(0, "end", low=0, high=10_000, step=1, unit="epochs")
    max_minutes: float = config_field(0.0, "end", low=0.0, high=100_000.0, unit="minutes")
    seed: int = config_field(0, "end", low=0, high=2**31 - 1, step=1)

    device: str = config_field("auto", "machine", choices=("auto", "cpu", "cuda", "mps", "xpu"))
    precision: str = config_field("auto", "machine", choices=("auto", "fp32", "bf16", "fp16"))
    engine: str = config_field("auto", "machine", choices=("auto", "torch", "onnxruntime"))
    compile: str = config_field("auto", "machine", choices=("auto", "yes", "record", "no"))
    fused: str = config_field("auto", "machine", choices=("auto", "yes", "no"))
    keep_decoded: int | None = config_field(None, "machine", low=0, high=10_000_000, step=1, unit="MB")
    vary_on: str = config_field("auto", "machine", choices=("auto", "processor", "device"))
    workers: int | None = config_field(None, "machine", low=1, high=256, step=1, unit="threads")
    threads: int | None = config_field(None, "machine", low=1, high=1024, step=1, unit="threads")

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if value is not None or not is_optional_field(f.name):
                validate_value(f.name, f.metadata["spec"], get_field_type(f.name), value)
        backbones.check_backbone_name(self.backbone)
        spec = backbones.BACKBONES.get(self.backbone)
        if spec and spec.fixed_side and self.side not in (None, spec.side):
            raise ConfigError(
                "config.side_fixed", name=format_flag("side"), title=spec.title, side=self.side, native=spec.side
            )
        if self.data and self.sample:
            raise ConfigError("config.two_sources")
        if self.init and self.mode == "scratch":
            raise ConfigError("config.init_scratch")
        if self.head_init == "imagenet" and (self.init or self.mode == "scratch"):
            raise ConfigError("config.head_imagenet")
        if self.val_share + self.test_share > 0.95:
            raise ConfigError("config.shares", val=self.val_share, test=self.test_share)
        if not _UNFREEZE_FROM_PATTERN.fullmatch(self.unfreeze_from):
            raise ConfigError("config.layer_form", name=format_flag("unfreeze_from"), value=self.unfreeze_from)
        rules.check_conflicts({**get_mode_defaults(self.backbone, self.mode), **_collect_set_values(self)})
        check_image_sizes(self.side, self.resize, self.crop_side)
        if self.augment == "none" and self.active_augmentations:
            raise ConfigError(
                "config.no_augment", name=format_flag(self.active_augmentations[0]), augment=format_flag("augment")
            )

    @property
    def active_augmentations(self) -> list[str]:
        """What varies a training picture beside crop and mirror: the knobs of `AUGMENTATION_FIELDS` that are above 0."""
        return [name for name in AUGMENTATION_FIELDS if getattr(self, name) > 0]

    @property
    def views_per_image(self) -> int:
        """Views of a training picture that a frozen backbone looks at: one where nothing varies it."""
        is_augmented = self.augment != "none" and (
            self.augment == "crop" or self.flip > 0 or bool(self.active_augmentations)
        )
        return self.feature_views if is_augmented else 1

    @property
    def caches_features(self) -> bool:
        """Whether the backbone runs over the pictures once only, and the head is trained on what it gave."""
        return self.mode == "frozen" and self.features == "cached"

    @property
    def init_seed(self) -> int:
        """Of what is random in a network at its start."""
        return self.seed if self.head_seed is None else self.head_seed

    @property
    def split_settings(self) -> dict[str, Any]:
        """The knobs of `SPLIT_FIELDS` and their values."""
        return {name: getattr(self, name) for name in SPLIT_FIELDS}

    @property
    def effective_batch_size(self) -> int:
        """Pictures of an optimizer step, over all processes."""
        return (self.batch_size or 1) * self.accumulate

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `TrainConfig(**it)` gives the same configuration back."""
        return dataclasses.asdict(self)


def config_from_json(values: dict[str, Any]) -> TrainConfig:
    """The configuration of a dict as `to_json` makes it; missing knobs take their defaults.

    Raises:
        ConfigError: an unknown knob, or a value that does not fit.
    """
    unknown_names = sorted(set(values) - set(FIELDS))
    if unknown_names:
        raise ConfigError("config.unknown", name=unknown_names[0], names=", ".join(FIELDS))
    return TrainConfig(**values)


def load_config(path: str) -> TrainConfig:
    """The configuration in a JSON file: a bare one, or a run's `config.json`.

    Raises:
        ConfigError: the file is missing, is no JSON, or does not fit.
    """
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except (OSError, ValueError) as cause:
        raise ConfigError("config.file", file=path, cause=cause) from cause
    if isinstance(values, dict) and isinstance(values.get("config"), dict):
        values = values["config"]
    if not isinstance(values, dict):
        raise ConfigError("config.file", file=path, cause="not a JSON object")
    return config_from_json(values)


def get_field_type(name: str) -> type:
    """The plain type of a knob: str, int or float."""
    hint = _load_type_hints()[name]
    return next(t for t in (*get_args(hint), hint) if t in (str, int, float))


def is_optional_field(name: str) -> bool:
    """Whether `None`, "chosen for you", is a value of the knob."""
    return type(None) in get_args(_load_type_hints()[name])


@cache
def _load_type_hints() -> dict[str, Any]:
    return get_type_hints(TrainConfig)


def get_mode_defaults(backbone: str, mode: str) -> dict[str, Any]:
    """What "chosen for you" comes to for a backbone and a mode, on any data."""
    full_rate, scratch_rate = backbones.get_default_rates(backbone)
    common = {"head_multiplier": 1.0, "weight_decay": 0.05, "augment": "crop"}
    scratch = {"epochs": 30, "batch_size": 16, "learning_rate": scratch_rate, **common}
    full = {**scratch, "epochs": 8, "learning_rate": full_rate, "head_multiplier": 10.0, "weight_decay": 0.01}
    frozen = {**scratch, "batch_size": 32, "learning_rate": 1e-3, "augment": "flip"}
    return {"frozen": frozen, "full": full, "scratch": scratch}[mode]


def fill_defaults(config: TrainConfig) -> TrainConfig:
    """The same configuration with each "chosen for you" filled in, but for what only the machine can tell."""
    mode_defaults = get_mode_defaults(config.backbone, config.mode)
    return dataclasses.replace(
        config, **{name: value for name, value in mode_defaults.items() if getattr(config, name) is None}
    )


def config_to_argv(config: TrainConfig) -> list[str]:
    """The flags that give this configuration on the command line; what is at its default is left out."""
    arguments: list[str] = []
    mode_defaults = get_mode_defaults(config.backbone, config.mode)
    for name in FIELDS:
        value = getattr(config, name)
        if value in (FIELDS[name][1], mode_defaults.get(name)) and name not in ("backbone", "mode"):
            continue
        arguments += [format_flag(name), format_value(value)]
    return arguments


def _collect_set_values(config: TrainConfig) -> dict[str, Any]:
    """What is not left to be chosen."""
    return {name: value for name, value in dataclasses.asdict(config).items() if value is not None}


def compute_image_sizes(spec: backbones.BackboneSpec, config: TrainConfig) -> tuple[int, int]:
    """Pixels of the short side, or of both, before a square is cut out, and of the square: as the configuration says,
    else in the backbone's own proportion."""
    side = config.side or spec.side
    default_resize = side if config.resize_mode == "squash" else round(side * spec.resize / spec.side)
    return config.resize or default_resize, side


def check_image_sizes(side: int | None, resize: int | None, crop_side: int | None) -> None:
    """What is cut out must not be larger than what it is cut from; None is not known yet, and fits.

    Raises:
        ConfigError: it is larger.
    """
    for name, size in (("resize", resize), ("crop_side", crop_side)):
        if side is not None and size is not None and size < side:
            raise ConfigError("config.side_larger", name=format_flag(name), value=size, side=side)


FIELDS: dict[str, tuple[FieldSpec, Any]] = {
    f.name: (f.metadata["spec"], f.default) for f in dataclasses.fields(TrainConfig)
}
"""Each knob's facts and its default, by name, in the order of the form."""
