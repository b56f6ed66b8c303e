"""The configuration: one frozen dataclass, each knob written once.

Flags, widgets, `config.json` and the table in the docs derive from the fields and their metadata. A new knob is
one field here and its words (`knob.<name>.label`, `knob.<name>.hint`). No torch, no gradio.

`None` means "chosen for you": `resolve` fills it in from the mode and the backbone, and the run keeps what was
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
from ftlab.config.fields import Knob, check, flag, written
from ftlab.config.fields import knob as _knob
from ftlab.core.errors import ConfigError

MODES = ("frozen", "full", "scratch")
SAMPLES = ("shapes", "shortcut")
OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop")
SCHEDULES = ("cosine", "constant", "step", "exponential", "onecycle", "plateau")
DEALING = ("val_share", "test_share", "seed", "held_out")
"""Knobs that say which picture goes to which split, by the names of `catalog.scan`'s arguments."""
FOLDED = ("origin", "rates", "head", "phases", "guard", "pixels", "end", "machine")
"""Themes of the knobs that a form folds away, in its order."""
EFFECTS = ("flip_vertical", "rotate", "brightness", "contrast", "saturation", "hue", "grayscale", "blur", "erase")
"""Knobs that vary training pictures once they are above 0."""
_LAYER = re.compile(r"|1(\.0*)?|0?\.\d*[1-9]\d*|[A-Za-z_][\w.-]*")
"""A layer's path or a share of layers: above 0, at most 1."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All that decides a training.

    Raises:
        ConfigError: on construction, when a value is outside its bounds or two contradict each other.
    """

    data: str = _knob("", "data")
    sample: str = _knob("", "data", choices=("", *SAMPLES))
    val_share: float = _knob(0.15, "data", low=0.01, high=0.9, step=0.01)
    test_share: float = _knob(0.15, "data", low=0.0, high=0.9, step=0.01)
    exclude: str = _knob("", "data")

    backbone: str = _knob(backbones.DEFAULT, "model")
    mode: str = _knob("frozen", "model", choices=MODES)

    epochs: int | None = _knob(None, "main", low=1, high=10_000, step=1)
    batch_size: int | None = _knob(None, "main", low=1, high=4096, step=1, unit="pictures")
    learning_rate: float | None = _knob(None, "main", low=1e-8, high=100.0)

    init: str = _knob("", "origin")
    init_part: str = _knob("all", "origin", choices=("all", "backbone", "head"))
    rename: str = _knob("", "origin")

    optimizer: str = _knob("adamw", "rates", choices=OPTIMIZERS)
    momentum: float = _knob(0.9, "rates", low=0.0, high=0.999, step=0.01)
    nesterov: str = _knob("yes", "rates", choices=("yes", "no"))
    head_multiplier: float | None = _knob(None, "rates", low=0.01, high=1000.0)
    backbone_rate: float = _knob(0.0, "rates", low=0.0, high=100.0)
    layer_decay: float = _knob(1.0, "rates", low=0.01, high=1.0, step=0.01)
    schedule: str = _knob("cosine", "rates", choices=SCHEDULES)
    warmup: float = _knob(0.05, "rates", low=0.0, high=0.9, step=0.01)
    step_epochs: int = _knob(0, "rates", low=0, high=10_000, step=1, unit="epochs")
    step_factor: float = _knob(0.1, "rates", low=0.001, high=0.999)
    plateau_mode: str = _knob("best", "rates", choices=("best", "previous"))
    plateau_patience: int = _knob(2, "rates", low=0, high=10_000, step=1, unit="epochs")
    plateau_cuts: int = _knob(0, "rates", low=0, high=100, step=1)
    accumulate: int = _knob(1, "rates", low=1, high=1024, step=1, unit="batches")
    clip_norm: float = _knob(0.0, "rates", low=0.0, high=1e6)
    loss_reduction: str = _knob("mean", "rates", choices=("mean", "sum"))

    head_kind: str = _knob("softmax", "head", choices=("softmax", "logit"))
    head_hidden: int = _knob(0, "head", low=0, high=65_536, step=1)
    head_init: str = _knob("small", "head", choices=("small", "default", "xavier", "imagenet"))
    head_seed: int | None = _knob(None, "head", low=0, high=2**31 - 1, step=1)

    unfreeze_epoch: int = _knob(0, "phases", low=0, high=9_999, step=1, unit="epochs")
    unfreeze_from: str = _knob("", "phases")
    gradual: str = _knob("no", "phases", choices=("yes", "no"))
    phase2_optimizer: str = _knob("same", "phases", choices=("same", *OPTIMIZERS))
    phase2_rate: float = _knob(0.0, "phases", low=0.0, high=100.0)
    batchnorm: str = _knob("auto", "phases", choices=("auto", "frozen", "train"))

    dropout: float = _knob(0.0, "guard", low=0.0, high=0.95, step=0.01)
    weight_decay: float | None = _knob(None, "guard", low=0.0, high=10.0)
    decay_norms: str = _knob("no", "guard", choices=("yes", "no"))
    label_smoothing: float = _knob(0.0, "guard", low=0.0, high=0.9, step=0.01)

    class_weights: str = _knob("none", "guard", choices=("none", "balanced"))
    sampling: str = _knob("shuffled", "guard", choices=("shuffled", "balanced"))
    mixup: float = _knob(0.0, "guard", low=0.0, high=10.0, step=0.1)
    cutmix: float = _knob(0.0, "guard", low=0.0, high=10.0, step=0.1)
    ema: float = _knob(0.0, "guard", low=0.0, high=0.99999)

    side: int | None = _knob(None, "pixels", low=32, high=1024, step=1, unit="pixels")
    resize: int | None = _knob(None, "pixels", low=32, high=2048, step=1, unit="pixels")
    resize_mode: str = _knob("short", "pixels", choices=("short", "squash"))
    normalise: str = _knob("weights", "pixels", choices=("weights", "estimated", "unit"))
    augment: str | None = _knob(None, "pixels", choices=("none", "flip", "crop"))
    crop_scale: float = _knob(0.35, "pixels", low=0.01, high=1.0, step=0.01)
    crop_ratio: float | None = _knob(None, "pixels", low=1.0, high=4.0)
    crop_side: int | None = _knob(None, "pixels", low=32, high=2048, step=1, unit="pixels")
    flip: float = _knob(0.5, "pixels", low=0.0, high=1.0, step=0.05)
    flip_vertical: float = _knob(0.0, "pixels", low=0.0, high=1.0, step=0.05)
    rotate: float = _knob(0.0, "pixels", low=0.0, high=180.0, step=1.0, unit="degrees")
    rotate_border: str = _knob("black", "pixels", choices=("black", "reflect"))
    brightness: float = _knob(0.0, "pixels", low=0.0, high=1.0, step=0.05)
    contrast: float = _knob(0.0, "pixels", low=0.0, high=1.0, step=0.05)
    saturation: float = _knob(0.0, "pixels", low=0.0, high=1.0, step=0.05)
    hue: float = _knob(0.0, "pixels", low=0.0, high=0.5, step=0.01)
    grayscale: float = _knob(0.0, "pixels", low=0.0, high=1.0, step=0.05)
    blur: float = _knob(0.0, "pixels", low=0.0, high=5.0, step=0.1, unit="pixels")
    erase: float = _knob(0.0, "pixels", low=0.0, high=1.0, step=0.05)
    features: str = _knob("cached", "pixels", choices=("cached", "fresh"))
    feature_views: int = _knob(2, "pixels", low=1, high=64, step=1)

    held_out: str = _knob("apart", "end", choices=("apart", "test_as_val", "test_from_val"))
    best_by: str = _knob("accuracy", "end", choices=("accuracy", "loss"))
    early_stop: int = _knob(0, "end", low=0, high=10_000, step=1, unit="epochs")
    keep_every: int = _knob(0, "end", low=0, high=10_000, step=1, unit="epochs")
    max_minutes: float = _knob(0.0, "end", low=0.0, high=100_000.0, unit="minutes")
    seed: int = _knob(0, "end", low=0, high=2**31 - 1, step=1)

    device: str = _knob("auto", "machine", choices=("auto", "cpu", "cuda", "mps", "xpu"))
    precision: str = _knob("auto", "machine", choices=("auto", "fp32", "bf16", "fp16"))
    engine: str = _knob("auto", "machine", choices=("auto", "torch", "onnxruntime"))
    compile: str = _knob("auto", "machine", choices=("auto", "yes", "record", "no"))
    fused: str = _knob("auto", "machine", choices=("auto", "yes", "no"))
    keep_decoded: int | None = _knob(None, "machine", low=0, high=10_000_000, step=1, unit="MB")
    vary_on: str = _knob("auto", "machine", choices=("auto", "processor", "device"))
    workers: int | None = _knob(None, "machine", low=1, high=256, step=1, unit="threads")
    threads: int | None = _knob(None, "machine", low=1, high=1024, step=1, unit="threads")

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if value is not None or not optional(f.name):
                check(f.name, f.metadata["knob"], kind(f.name), value)
        backbones.check(self.backbone)
        row = backbones.TABLE.get(self.backbone)
        if row and row.fixed_side and self.side not in (None, row.side):
            raise ConfigError("config.side_fixed", name=flag("side"), title=row.title, side=self.side, native=row.side)
        if self.data and self.sample:
            raise ConfigError("config.two_sources")
        if self.init and self.mode == "scratch":
            raise ConfigError("config.init_scratch")
        if self.head_init == "imagenet" and (self.init or self.mode == "scratch"):
            raise ConfigError("config.head_imagenet")
        if self.val_share + self.test_share > 0.95:
            raise ConfigError("config.shares", val=self.val_share, test=self.test_share)
        if not _LAYER.fullmatch(self.unfreeze_from):
            raise ConfigError("config.layer_form", name=flag("unfreeze_from"), value=self.unfreeze_from)
        rules.refuse({**defaults(self.backbone, self.mode), **_given(self)})
        check_sides(self.side, self.resize, self.crop_side)
        if self.augment == "none" and self.effects:
            raise ConfigError("config.no_augment", name=flag(self.effects[0]), augment=flag("augment"))

    @property
    def effects(self) -> list[str]:
        """What varies a training picture beside crop and mirror: the knobs of `EFFECTS` that are above 0."""
        return [name for name in EFFECTS if getattr(self, name) > 0]

    @property
    def cached_views(self) -> int:
        """Views of a training picture that a frozen backbone looks at: one where nothing varies it."""
        varied = self.augment != "none" and (self.augment == "crop" or self.flip > 0 or bool(self.effects))
        return self.feature_views if varied else 1

    @property
    def caches_features(self) -> bool:
        """Whether the backbone runs over the pictures once only, and the head is trained on what it gave."""
        return self.mode == "frozen" and self.features == "cached"

    @property
    def start_seed(self) -> int:
        """Of what is random in a network at its start."""
        return self.seed if self.head_seed is None else self.head_seed

    @property
    def dealing(self) -> dict[str, Any]:
        """The knobs of `DEALING` and their values."""
        return {name: getattr(self, name) for name in DEALING}

    @property
    def step_size(self) -> int:
        """Pictures of an optimizer step, over all processes."""
        return (self.batch_size or 1) * self.accumulate

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `TrainConfig(**it)` gives the same configuration back."""
        return dataclasses.asdict(self)


def from_json(values: dict[str, Any]) -> TrainConfig:
    """The configuration of a dict as `to_json` makes it; missing knobs take their defaults.

    Raises:
        ConfigError: an unknown knob, or a value that does not fit.
    """
    unknown = sorted(set(values) - set(KNOBS))
    if unknown:
        raise ConfigError("config.unknown", name=unknown[0], names=", ".join(KNOBS))
    return TrainConfig(**values)


def load(path: str) -> TrainConfig:
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
    return from_json(values)


def kind(name: str) -> type:
    """The plain type of a knob: str, int or float."""
    hint = _hints()[name]
    return next(t for t in (*get_args(hint), hint) if t in (str, int, float))


def optional(name: str) -> bool:
    """Whether `None`, "chosen for you", is a value of the knob."""
    return type(None) in get_args(_hints()[name])


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(TrainConfig)


def defaults(backbone: str, mode: str) -> dict[str, Any]:
    """What "chosen for you" comes to for a backbone and a mode, on any data."""
    full_rate, scratch_rate = backbones.rates(backbone)
    usual = {"head_multiplier": 1.0, "weight_decay": 0.05, "augment": "crop"}
    scratch = {"epochs": 30, "batch_size": 16, "learning_rate": scratch_rate, **usual}
    full = {**scratch, "epochs": 8, "learning_rate": full_rate, "head_multiplier": 10.0, "weight_decay": 0.01}
    frozen = {**scratch, "batch_size": 32, "learning_rate": 1e-3, "augment": "flip"}
    return {"frozen": frozen, "full": full, "scratch": scratch}[mode]


def resolve(config: TrainConfig) -> TrainConfig:
    """The same configuration with each "chosen for you" filled in, but for what only the machine can tell."""
    chosen = defaults(config.backbone, config.mode)
    return dataclasses.replace(
        config, **{name: value for name, value in chosen.items() if getattr(config, name) is None}
    )


def argv(config: TrainConfig) -> list[str]:
    """The flags that give this configuration on the command line; what is at its default is left out."""
    words: list[str] = []
    chosen = defaults(config.backbone, config.mode)
    for name in KNOBS:
        value = getattr(config, name)
        if value in (KNOBS[name][1], chosen.get(name)) and name not in ("backbone", "mode"):
            continue
        words += [flag(name), written(value)]
    return words


def _given(config: TrainConfig) -> dict[str, Any]:
    """What is not left to be chosen."""
    return {name: value for name, value in dataclasses.asdict(config).items() if value is not None}


def sides(row: backbones.Backbone, config: TrainConfig) -> tuple[int, int]:
    """Pixels of the short side, or of both, before a square is cut out, and of the square: as the configuration says,
    else in the backbone's own proportion."""
    side = config.side or row.side
    whole = side if config.resize_mode == "squash" else round(side * row.resize / row.side)
    return config.resize or whole, side


def check_sides(side: int | None, resize: int | None, crop_side: int | None) -> None:
    """What is cut out must not be larger than what it is cut from; None is not known yet, and fits.

    Raises:
        ConfigError: it is larger.
    """
    for name, given in (("resize", resize), ("crop_side", crop_side)):
        if side is not None and given is not None and given < side:
            raise ConfigError("config.side_larger", name=flag(name), value=given, side=side)


KNOBS: dict[str, tuple[Knob, Any]] = {f.name: (f.metadata["knob"], f.default) for f in dataclasses.fields(TrainConfig)}
"""Each knob's facts and its default, by name, in the order of the form."""
