"""Configuration of a training: one frozen dataclass, with each setting defined once.

Flags, widgets, `config.json` and the table in the documentation derive from the fields and their metadata. A new
setting is one field here and its texts (`setting.<name>.label`, `setting.<name>.hint`). No torch, no gradio.

`None` means "chosen automatically": `fill_defaults` replaces it according to mode and backbone, and the run records the
values that were chosen.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ftlab.config import backbones, old_settings, rules
from ftlab.config.fields import FieldSpec, config_field, format_flag, format_value, validate_value
from ftlab.config.mode_defaults import get_mode_defaults
from ftlab.config.name_encodings import NAME_ENCODINGS
from ftlab.config.trackers import TRACKER_NAMES
from ftlab.core import file_io
from ftlab.core.errors import ConfigError

MODES = ("frozen", "full", "scratch")
SAMPLE_SET_NAMES = ("shapes", "shortcut")
OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop")
SCHEDULES = ("cosine", "constant", "step", "exponential", "onecycle", "plateau")
SPLIT_FIELDS = ("val_share", "test_share", "seed", "holdout", "layout", "zip_names")
"""Settings that decide the split of each image, named as the arguments of `scan.scan`."""
FOLDED_GROUPS = (
    *("main", "rates", "schedule", "augment", "guard", "loss", "pixels", "head", "phases", "origin", "end", "machine"),
)
"""Groups of settings that a form folds away, in its order."""
AUGMENTATION_FIELDS = (
    *("vflip", "rotate", "brightness", "contrast", "saturation", "hue", "grayscale", "blur", "random_erasing"),
)
"""Settings that augment training images if they are above 0."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All settings of a training, checked on construction."""

    data: str = config_field("", "data")
    sample: str = config_field("", "data", choices=("", *SAMPLE_SET_NAMES))
    val_share: float = config_field(0.15, "data", low=0.01, high=0.9, step=0.01)
    test_share: float = config_field(0.15, "data", low=0.0, high=0.9, step=0.01)
    exclude: str = config_field("", "data")
    layout: str = config_field("auto", "data", choices=("auto", "splits", "classes", "inner_classes", "list"))
    zip_names: str = config_field("", "data", choices=("", *NAME_ENCODINGS))

    backbone: str = config_field(backbones.DEFAULT_BACKBONE, "model")
    mode: str = config_field("frozen", "model", choices=MODES)
    epochs: int | None = config_field(None, "main", low=1, high=10_000, step=1)
    batch_size: int | None = config_field(None, "main", low=1, high=4096, step=1, unit="pictures")
    learning_rate: float | None = config_field(None, "main", low=1e-8, high=100.0)

    init_from: str = config_field("", "origin")
    init_part: str = config_field("all", "origin", choices=("all", "backbone", "head"))
    rename_keys: str = config_field("", "origin")

    optimizer: str = config_field("adamw", "rates", choices=OPTIMIZERS)
    momentum: float = config_field(0.9, "rates", low=0.0, high=0.999, step=0.01)
    nesterov: bool = config_field(True, "rates")
    head_lr_multiplier: float | None = config_field(None, "rates", low=0.01, high=1000.0)
    backbone_lr: float = config_field(0.0, "rates", low=0.0, high=100.0)
    layer_decay: float = config_field(1.0, "rates", low=0.01, high=1.0, step=0.01)
    schedule: str = config_field("cosine", "schedule", choices=SCHEDULES)
    warmup_fraction: float = config_field(0.05, "schedule", low=0.0, high=0.9, step=0.01)
    lr_step_epochs: int = config_field(0, "schedule", low=0, high=10_000, step=1, unit="epochs")
    lr_gamma: float = config_field(0.1, "schedule", low=0.001, high=0.999)
    plateau_mode: str = config_field("best", "schedule", choices=("best", "previous"))
    plateau_patience: int = config_field(2, "schedule", low=0, high=10_000, step=1, unit="epochs")
    plateau_max_reductions: int = config_field(0, "schedule", low=0, high=100, step=1)
    grad_accum_steps: int = config_field(1, "rates", low=1, high=1024, step=1, unit="batches")
    grad_clip_norm: float = config_field(0.0, "rates", low=0.0, high=1e6)
    loss_reduction: str = config_field("mean", "loss", choices=("mean", "sum"))

    head_kind: str = config_field("softmax", "head", choices=("softmax", "logit"))
    head_hidden: int = config_field(0, "head", low=0, high=65_536, step=1)
    head_init: str = config_field("small", "head", choices=("small", "default", "xavier", "imagenet"))
    head_seed: int | None = config_field(None, "head", low=0, high=2**31 - 1, step=1)

    unfreeze_epoch: int = config_field(0, "phases", low=0, high=9_999, step=1, unit="epochs")
    unfreeze_from: str = config_field("", "phases")
    activations: str = config_field("fresh", "phases", choices=("fresh", "cached"))
    unfreeze_all_epoch: int = config_field(0, "phases", low=0, high=9_999, step=1, unit="epochs")
    gradual_unfreezing: bool = config_field(False, "phases")
    phase2_optimizer: str = config_field("same", "phases", choices=("same", *OPTIMIZERS))
    phase2_lr: float = config_field(0.0, "phases", low=0.0, high=100.0)
    phase3_lr: float = config_field(0.0, "phases", low=0.0, high=100.0)
    batchnorm: str | None = config_field(None, "phases", choices=("trainable", "frozen", "train"))

    dropout: float = config_field(0.0, "guard", low=0.0, high=0.95, step=0.01)
    weight_decay: float | None = config_field(None, "guard", low=0.0, high=10.0)
    decay_norm_and_bias: bool = config_field(False, "guard")
    label_smoothing: float = config_field(0.0, "loss", low=0.0, high=0.9, step=0.01)
    class_weights: str = config_field("none", "loss", choices=("none", "balanced"))
    sampling: str = config_field("shuffled", "loss", choices=("shuffled", "balanced"))
    ema_decay: float = config_field(0.0, "guard", low=0.0, high=0.99999)

    image_size: int | None = config_field(None, "pixels", low=32, high=1024, step=1, unit="pixels")
    resize: int | None = config_field(None, "pixels", low=32, high=2048, step=1, unit="pixels")
    resize_mode: str = config_field("short", "pixels", choices=("short", "squash"))
    normalization: str = config_field("weights", "pixels", choices=("weights", "estimated", "unit"))
    value_range: str = config_field("auto", "pixels")
    exact_decoding: bool = config_field(False, "pixels")
    augment: str | None = config_field(None, "augment", choices=("none", "flip", "crop"))
    crop_scale: float = config_field(0.35, "augment", low=0.01, high=1.0, step=0.01)
    crop_ratio: float | None = config_field(None, "augment", low=1.0, high=4.0)
    crop_size: int | None = config_field(None, "augment", low=32, high=2048, step=1, unit="pixels")
    hflip: float = config_field(0.5, "augment", low=0.0, high=1.0, step=0.05)
    vflip: float = config_field(0.0, "augment", low=0.0, high=1.0, step=0.05)
    rotate: float = config_field(0.0, "augment", low=0.0, high=180.0, step=1.0, unit="degrees")
    rotate_border: str = config_field("black", "augment", choices=("black", "reflect"))
    brightness: float = config_field(0.0, "augment", low=0.0, high=1.0, step=0.05)
    contrast: float = config_field(0.0, "augment", low=0.0, high=1.0, step=0.05)
    saturation: float = config_field(0.0, "augment", low=0.0, high=1.0, step=0.05)
    hue: float = config_field(0.0, "augment", low=0.0, high=0.5, step=0.01)
    grayscale: float = config_field(0.0, "augment", low=0.0, high=1.0, step=0.05)
    blur: float = config_field(0.0, "augment", low=0.0, high=5.0, step=0.1, unit="pixels")
    random_erasing: float = config_field(0.0, "augment", low=0.0, high=1.0, step=0.05)
    mixup: float = config_field(0.0, "augment", low=0.0, high=10.0, step=0.1)
    cutmix: float = config_field(0.0, "augment", low=0.0, high=10.0, step=0.1)
    features: str = config_field("cached", "augment", choices=("cached", "fresh"))
    cached_views: int = config_field(2, "augment", low=1, high=64, step=1)

    holdout: str = config_field("apart", "end", choices=("apart", "test_as_val", "test_from_val"))
    monitor: str = config_field("accuracy", "end", choices=("accuracy", "loss"))
    early_stopping_patience: int = config_field(0, "end", low=0, high=10_000, step=1, unit="epochs")
    save_every_epochs: int = config_field(0, "end", low=0, high=10_000, step=1, unit="epochs")
    max_minutes: float = config_field(0.0, "end", low=0.0, high=100_000.0, unit="minutes")
    seed: int = config_field(0, "end", low=0, high=2**31 - 1, step=1)

    processes: int = config_field(1, "machine", low=1, high=1024, step=1)
    device: str = config_field("auto", "machine", choices=("auto", "cpu", "cuda", "mps", "xpu"))
    precision: str = config_field("auto", "machine", choices=("auto", "fp32", "bf16", "fp16"))
    engine: str = config_field("auto", "machine", choices=("auto", "torch", "onnxruntime"))
    feature_precision: str = config_field("fp16", "machine", choices=("fp16", "fp32"))
    compile: str = config_field("auto", "machine", choices=("auto", "yes", "record", "no"))
    fused: bool | None = config_field(None, "machine")
    image_cache_mb: int | None = config_field(None, "machine", low=0, high=10_000_000, step=1, unit="MB")
    augment_device: str = config_field("auto", "machine", choices=("auto", "cpu", "gpu"))
    num_workers: int | None = config_field(None, "machine", low=1, high=256, step=1, unit="threads")
    torch_num_threads: int | None = config_field(None, "machine", low=1, high=1024, step=1, unit="threads")
    trackers: str = config_field("", "machine", choices=TRACKER_NAMES, several=True)
    copy_to: str = config_field("", "machine")

    def __post_init__(self) -> None:
        """Check each value by itself, then the combinations.

        Raises:
            ConfigError: a value is out of bounds, or two contradict each other.
        """
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            # None is "chosen automatically" where the type allows it, and an error elsewhere.
            if value is not None or not is_optional_field(f.name):
                validate_value(f.name, f.metadata["spec"], get_field_type(f.name), value)
        backbones.check_backbone_name(self.backbone)
        # Not get_backbone_spec, which takes seconds for a timm model.
        spec = backbones.BACKBONES.get(self.backbone)
        if spec and spec.fixed_side and self.image_size not in (None, spec.side):
            sizes = {"side": self.image_size, "native": spec.side}
            raise ConfigError("config.side_fixed", name=format_flag("image_size"), title=spec.title, **sizes)
        rules.check_sources(dataclasses.asdict(self))
        rules.check_layer_form(self.unfreeze_from)
        set_values = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        rules.check_conflicts({**get_mode_defaults(self.backbone, self.mode), **set_values})
        rules.check_image_sizes(self.image_size, self.resize, self.crop_size)
        rules.parse_value_range(self.value_range)
        if self.augment == "none" and self.active_augmentations:
            raise ConfigError(
                "config.no_augment", name=format_flag(self.active_augmentations[0]), augment=format_flag("augment")
            )

    @property
    def active_augmentations(self) -> list[str]:
        """Return the augmentations other than crop and horizontal flip: the `AUGMENTATION_FIELDS` above 0."""
        return [name for name in AUGMENTATION_FIELDS if getattr(self, name) > 0]

    @property
    def views_per_image(self) -> int:
        """Return the number of views of a training image that are computed once; 1 without augmentation."""
        is_augmented = self.augment != "none" and (
            self.augment == "crop" or self.hflip > 0 or bool(self.active_augmentations)
        )
        return self.cached_views if is_augmented else 1

    @property
    def caches_features(self) -> bool:
        """Return whether the backbone's features are computed once, and only the head is trained on them."""
        return self.mode == "frozen" and self.features == "cached"

    @property
    def caches_activations(self) -> bool:
        """Return whether the activations of the frozen layers are computed once, and only those above are trained."""
        return self.mode == "full" and self.activations == "cached"

    @property
    def caches_views(self) -> bool:
        """Return whether each view of an image passes through the frozen part once, before the first step."""
        return self.caches_features or self.caches_activations

    @property
    def trains_on_images(self) -> bool:
        """Return whether images are decoded in each of some epochs, not only once for the frozen part."""
        return not self.caches_views or self.unfreeze_all_epoch > 0

    @property
    def init_seed(self) -> int:
        """Return the seed of the network's random initialization."""
        return self.seed if self.head_seed is None else self.head_seed

    @property
    def split_settings(self) -> dict[str, Any]:
        """Return the values of the `SPLIT_FIELDS` by name."""
        return {name: getattr(self, name) for name in SPLIT_FIELDS}

    @property
    def effective_batch_size(self) -> int:
        """Return the number of images per optimizer step, over all ranks and accumulated batches."""
        return (self.batch_size or 1) * self.grad_accum_steps

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict; `config_from_json` is its inverse."""
        return dataclasses.asdict(self)


def config_from_json(values: dict[str, Any]) -> TrainConfig:
    """Return the configuration of a dict made by `TrainConfig.to_json`; missing settings get their defaults.

    Raises:
        ConfigError: there is an unknown setting; a value that is not allowed raises one too.
    """
    values = old_settings.upgrade_settings(values)
    unknown_names = sorted(set(values) - set(FIELDS))
    if unknown_names:
        name = unknown_names[0]
        matches = difflib.get_close_matches(name, FIELDS, cutoff=0.4) or list(FIELDS)
        raise ConfigError("config.unknown", name=name, names=", ".join(matches))
    return TrainConfig(**values)


def load_config(path: str) -> TrainConfig:
    """Return the configuration in a JSON file: a plain one, or a run's `config.json`.

    Raises:
        ConfigError: the file is missing, is not JSON, or holds no valid configuration.
    """
    try:
        values = json.loads(file_io.read_regular_file(Path(path)))
    except (OSError, ValueError) as cause:
        raise ConfigError("config.file", file=path, cause=getattr(cause, "strerror", None) or cause) from cause
    if isinstance(values, dict) and isinstance(values.get("config"), dict):
        values = values["config"]
    if not isinstance(values, dict):
        raise ConfigError("config.file", file=path, cause="not a JSON object")
    return config_from_json(values)


def get_field_type(name: str) -> type:
    """Return the plain type of a setting: str, int, float or bool."""
    hint = _load_type_hints()[name]
    field_type: type = next(t for t in (*get_args(hint), hint) if t in (str, int, float, bool))
    return field_type


def is_optional_field(name: str) -> bool:
    """Return whether a setting can be `None`, "chosen automatically"."""
    return type(None) in get_args(_load_type_hints()[name])


@cache
def _load_type_hints() -> dict[str, Any]:
    """Return the resolved type hints of the fields; resolving takes too long to repeat for each field."""
    return get_type_hints(TrainConfig)


def fill_defaults(config: TrainConfig) -> TrainConfig:
    """Return the configuration with every `None` replaced, except for what depends on the machine."""
    mode_defaults = get_mode_defaults(config.backbone, config.mode)
    return dataclasses.replace(
        config, **{name: value for name, value in mode_defaults.items() if getattr(config, name) is None}
    )


def config_to_argv(config: TrainConfig) -> list[str]:
    """Return the command-line flags of a configuration, without those at their default."""
    arguments: list[str] = []
    mode_defaults = get_mode_defaults(config.backbone, config.mode)
    for name in FIELDS:
        value = getattr(config, name)
        if value in (FIELDS[name][1], mode_defaults.get(name)) and name not in ("backbone", "mode"):
            continue
        if isinstance(value, bool):
            arguments.append(format_flag(name if value else f"no_{name}"))
        else:
            arguments += [format_flag(name), format_value(value)]
    return arguments


def compute_image_sizes(spec: backbones.BackboneSpec, config: TrainConfig) -> tuple[int, int]:
    """Return resize length (of the short side, or of both) and side of the central crop, both in pixels.

    What the configuration leaves open follows from the backbone's own ratio of the two.
    """
    side = config.image_size or spec.side
    default_resize = side if config.resize_mode == "squash" else round(side * spec.resize / spec.side)
    return config.resize or default_resize, side


FIELDS: dict[str, tuple[FieldSpec, Any]] = {
    f.name: (f.metadata["spec"], f.default) for f in dataclasses.fields(TrainConfig)
}
"""Metadata and default of each setting by name, in the order of the form."""
