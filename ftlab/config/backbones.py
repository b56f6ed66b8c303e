"""The backbones: one row an architecture. No torch here, so that the page and the command line start at once.

A row says where the architecture and its pretrained weights come from, how a picture must be prepared for them,
where the classifier sits and which layer Grad-CAM looks at. Those that ftlab knows stand in `config/backbones.toml`; a new
one is a new table there, and `tests/test_network.py` visits each. Any model of timm is a backbone too, by the name
`timm/<model>` or `timm/<model>.<tag>`: its row is found once by building it (`models/timm_spec.py`, in a process of
its own, for that takes seconds), and kept in `FTLAB_HOME`.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
import tomllib
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ftlab import __version__
from ftlab.core import user_dirs
from ftlab.core.errors import ConfigError

DEFAULT_BACKBONE = "tf_efficientnet_lite0"
TIMM_PREFIX = "timm/"
_TIMM_NAME_PATTERN = re.compile(r"timm/[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")
_TIMM_LEARNING_RATES = (5e-5, 5e-4)
_LOOKUP_TIMEOUT_SECONDS = 300.0
"""Seconds that a look at one of timm's models may take: the largest fill a machine's memory."""

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """One architecture.

    Attributes:
        name: as the configuration has it; without `timm/`, the builder's name in `source`.
        title: name for people.
        source: `torchvision` or `timm`.
        weights: torchvision's weights enum member; for timm its tag; empty where there are none.
        weights_file: name of the file in torch's hub cache, in the package or in the hub's repository.
        weights_package: import name of a package that ships the file, so that no network is needed.
        weights_hub: repository on the Hugging Face Hub that has the file.
        weights_url: address of the file, where timm names one and no repository.
        sha256: of the file, whole or its first digits, where its source states one.
        megabytes: size of the weights file, 10^6 bytes.
        licence: of the weights; empty where the source states none.
        resize: side in pixels that the short side is scaled to for evaluation.
        side: side in pixels of the square the network sees.
        fixed_side: whether it takes no other.
        interpolation: `bilinear` or `bicubic`, as the weights were trained.
        mean, std: per channel (R, G, B), of pixels in [0, 1].
        head: path of the classifier inside the source's module, a linear layer or a 1 × 1 convolution before
            the average over places; empty where the source builds the module without one.
        width: length D of the feature vector that the classifier reads.
        parameters: of the source's module without its classifier, and without the last layers of auxiliary ones.
        auxiliary: paths of the last layers of classifiers that sit on inner layers and help in training alone,
            in the order in which the module gives their answers.
        auxiliary_widths: lengths of the vectors these read.
        auxiliary_weight: of the loss of each, beside 1 for the network's own.
        cam: path of the layer whose output Grad-CAM weighs; empty where the architecture has no such layer.
        cam_layout: `chw` feature map, `hwc` feature map, or `tokens`.
        cam_tokens: tokens that stand for no place and come before those that do.
        convolutional: gains from channels_last memory and from folding BatchNorm into convolutions.
        full_rate, scratch_rate: learning rates that work untouched, for a batch of 32 with AdamW.
        featured: one of the six in view; the rest is folded.
        speed: images per second of a forward pass on two CPU cores, a rough guide.
        paper: where it was published.
    """

    name: str
    title: str
    source: str
    weights: str
    weights_file: str
    weights_package: str = ""
    weights_hub: str = ""
    weights_url: str = ""
    sha256: str = ""
    megabytes: float
    licence: str
    resize: int = 256
    side: int = 224
    fixed_side: bool = False
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = _IMAGENET_MEAN
    std: tuple[float, float, float] = _IMAGENET_STD
    head: str
    width: int
    parameters: int
    auxiliary: tuple[str, ...] = ()
    auxiliary_widths: tuple[int, ...] = ()
    auxiliary_weight: float = 0.0
    cam: str
    cam_layout: str = "chw"
    cam_tokens: int = 1
    convolutional: bool = True
    full_rate: float = 1e-4
    scratch_rate: float = 1e-3
    featured: bool = False
    speed: int
    paper: str = ""

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `spec_from_json` gives the same row back."""
        return asdict(self)


def spec_from_json(values: dict[str, Any]) -> BackboneSpec:
    """The row of a dict as `to_json` makes it. It may come from anywhere: what it names is built, never run.

    Raises:
        ValueError: it is no row, or none of this version.
    """
    field_names = {field.name for field in fields(BackboneSpec)}
    if not set(values) <= field_names or values.get("source") not in ("torchvision", "timm"):
        raise ValueError("no row of a backbone")
    if not re.fullmatch(r"(timm/)?[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?", str(values.get("name"))):
        raise ValueError("no name of a backbone")
    spec_values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    try:
        return BackboneSpec(**spec_values)
    except TypeError as cause:
        raise ValueError("no row of a backbone") from cause


def _load_specs() -> dict[str, BackboneSpec]:
    with open(Path(__file__).with_suffix(".toml"), "rb") as file:
        return {name: spec_from_json({"name": name, **values}) for name, values in tomllib.load(file).items()}


BACKBONES: dict[str, BackboneSpec] = _load_specs()
"""The rows that ftlab knows, by name, in the order of the menu."""
TIMM_SPEC_CACHE: dict[str, BackboneSpec | ConfigError] = {}
"""What this process has found of timm's models, by name."""


def check_backbone_name(name: str) -> None:
    """Whether a name can be a backbone's. Whether timm has such a model, `get_backbone_spec` tells.

    Raises:
        ConfigError: it cannot; the message names what is like it.
    """
    if name not in BACKBONES and not _TIMM_NAME_PATTERN.fullmatch(name):
        suggestions = difflib.get_close_matches(name, BACKBONES, n=3, cutoff=0.5) or list(BACKBONES)
        raise ConfigError("config.backbone", name=name, names=", ".join(suggestions))


def get_backbone_spec(name: str) -> BackboneSpec:
    """The row of that name. The first time for a model of timm, this takes some seconds.

    Raises:
        ConfigError: there is none, or it cannot be used; the message says why, or what is like it.
    """
    spec = find_known_spec(name)
    if spec is None:
        try:
            spec = TIMM_SPEC_CACHE[name] = query_timm_spec(name)
            with suppress(OSError):  # not to be kept is no mistake: it is looked up again another time
                _save_spec(spec)
        except ConfigError as error:
            TIMM_SPEC_CACHE[name] = error
            raise
    return spec


def find_known_spec(name: str) -> BackboneSpec | None:
    """The row of that name as far as it is known at once; None for a model of timm not yet looked up.

    Raises:
        ConfigError: there is none, or it was found that it cannot be used.
    """
    check_backbone_name(name)
    if name in BACKBONES:
        return BACKBONES[name]
    if name not in TIMM_SPEC_CACHE:
        try:
            TIMM_SPEC_CACHE[name] = spec_from_json(json.loads(get_spec_file(name).read_text(encoding="utf-8")))
        except (OSError, ValueError):  # not there, or of another version
            return None
    spec = TIMM_SPEC_CACHE[name]
    if isinstance(spec, ConfigError):
        raise spec
    return spec


def get_default_rates(name: str) -> tuple[float, float]:
    """Learning rates for full and scratch mode that work untouched. For a model of timm always the same: what is
    chosen for a person must not depend on what was looked up."""
    spec = BACKBONES.get(name)
    return (spec.full_rate, spec.scratch_rate) if spec else _TIMM_LEARNING_RATES


def count_parameters(spec: BackboneSpec, num_outputs: int, mode: str, hidden_width: int = 0) -> tuple[int, int]:
    """Trainable and total parameters of the network in that mode, of which each part learns in the end.

    Args:
        num_outputs: logits of the head.
        hidden_width: width of a layer between, 0 for none.
    """

    def count_head_parameters(width: int) -> int:
        return (
            (width + 1) * hidden_width + (hidden_width + 1) * num_outputs if hidden_width else (width + 1) * num_outputs
        )

    total = spec.parameters + sum(map(count_head_parameters, (spec.width, *spec.auxiliary_widths)))
    return (count_head_parameters(spec.width) if mode == "frozen" else total), total


def get_spec_file(name: str) -> Path:
    """Where the row of one of timm's models is kept: another version of timm or ftlab may find another."""
    version_folder = f"timm-{version('timm')}-ftlab-{__version__}"
    return user_dirs.get_ftlab_home() / "backbones" / version_folder / f"{name.removeprefix(TIMM_PREFIX)}.json"


def _save_spec(spec: BackboneSpec) -> None:
    spec_file = get_spec_file(spec.name)
    spec_file.parent.mkdir(parents=True, exist_ok=True)
    part_path = spec_file.with_name(f"{spec_file.name}.{os.getpid()}.part")
    part_path.write_text(json.dumps(spec.to_json(), indent=1), encoding="utf-8")
    os.replace(part_path, spec_file)


def query_timm_spec(name: str) -> BackboneSpec:
    """What `python -m ftlab backbones NAME --json` says."""
    command = [sys.executable, "-m", "ftlab", "backbones", name, "--json"]
    import_root = Path(__file__).resolve().parents[2]  # where `-m ftlab` is this very ftlab
    try:
        result = subprocess.run(
            command, cwd=import_root, capture_output=True, text=True, timeout=_LOOKUP_TIMEOUT_SECONDS, check=False
        )
        last_line = (result.stderr.strip().splitlines() or [""])[-1]
        if result.returncode == 2:
            raise ConfigError("config.told", sentence=last_line.removeprefix("ftlab: "))
        if result.returncode:
            raise ConfigError("config.lookup", name=name, cause=last_line)
        return spec_from_json(json.loads(result.stdout))
    except (OSError, subprocess.SubprocessError, ValueError) as cause:
        raise ConfigError("config.lookup", name=name, cause=cause) from cause
