"""Registry of the backbones: one spec per architecture. No torch, so that the page and the command line start at once.

A spec says where the architecture and its pretrained weights come from, how an image must be preprocessed for them,
where the classifier is and which layer Grad-CAM uses. The specs that ftlab ships are in `config/backbones.toml`; a new
one is a new table there, and the tests of `models/network.py` visit each. Any model of timm is a backbone too, by the
name `timm/<model>` or `timm/<model>.<tag>`: its spec is derived by building it once (`models/timm_spec.py`, in a
process of its own, because it takes seconds), and cached in `FTLAB_HOME`.
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
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ftlab import __version__
from ftlab.core import file_io, json_fields, user_dirs
from ftlab.core.errors import ConfigError

DEFAULT_BACKBONE = "tf_efficientnet_lite0"
TIMM_PREFIX = "timm/"
_TIMM_NAME_PATTERN = re.compile(r"timm/[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")
_TIMM_LEARNING_RATES = (5e-5, 5e-4)
"""Learning rates of full and scratch mode for every model of timm."""
_LOOKUP_TIMEOUT_SECONDS = 300.0
"""Seconds until the lookup of a timm model is abandoned: the largest models fill a machine's memory."""

# The statistics by which torchvision normalizes ImageNet; timm's models state their own.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_FORMER_CAM_LAYERS = {
    ("tf_efficientnet_lite0", "conv_head"): "bn2",
    ("densenet121", "features"): "relu5",
    ("squeezenet1_1", "features"): "classifier.2",
}
"""The target layer of today by name of the backbone and its target layer in specs of runs of older versions."""


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """Specification of one backbone architecture.

    Attributes:
        name: in the configuration; without `timm/`, the name of the model function in `source`.
        title: name for users.
        source: `torchvision` or `timm`.
        weights: member of torchvision's weights enum, or timm's tag; empty if there are no pretrained weights.
        weights_file: name of the file in torch's hub cache, in the package or in the hub's repository.
        weights_package: import name of a package that contains the file, so that no network is needed.
        weights_hub: repository on the Hugging Face Hub that has the file.
        weights_url: address of the file, if timm names one and no repository.
        sha256: of the file, complete or its first digits, if the source states one.
        megabytes: size of the weights file, 10^6 bytes.
        licence: of the weights; empty if the source states none.
        resize: length in pixels to which the short side is resized for evaluation.
        side: side in pixels of the square input of the network.
        fixed_side: whether the network accepts no other input size.
        interpolation: `bilinear` or `bicubic`, as the weights were trained.
        mean, std: per channel (R, G, B), of pixels in [0, 1].
        head: path of the classifier inside the source's module: a linear layer, or a 1 × 1 convolution before global
            average pooling; empty if the source builds the module without one.
        width: length D of the feature vector that the classifier reads.
        parameters: number of parameters of the source's module without its classifier, and without the last layers of
            auxiliary classifiers.
        auxiliary: paths of the last layers of auxiliary classifiers, which are attached to inner layers and used in
            training only, in the order in which the module returns their logits.
        auxiliary_widths: lengths of the vectors that these read.
        auxiliary_weight: weight of the loss of each; the loss of the main classifier has weight 1.
        cam: path of the layer whose output Grad-CAM weights, behind its activation; empty if the architecture has no
            such layer.
        cam_layout: `chw` feature map, `hwc` feature map, or `tokens`.
        cam_tokens: number of tokens without a position (class token, registers) that precede those with one.
        convolutional: whether it gains from channels_last memory and from folding BatchNorm into convolutions.
        full_rate, scratch_rate: learning rates that work without tuning, for a batch of 32 with AdamW.
        featured: whether it is one of the six that are always visible; the others are folded away.
        speed: images per second of a forward pass on two CPU cores, approximately.
        paper: where the architecture was published.
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
        """Return a plain dict; `spec_from_json` is its inverse."""
        return asdict(self)


def spec_from_json(values: dict[str, Any]) -> BackboneSpec:
    """Return the spec of a dict made by `BackboneSpec.to_json`.

    The dict may come from an untrusted file: what it names is looked up in torchvision or timm, never executed. Where
    an older version named a target layer before the last activation, the spec has today's.

    Raises:
        ValueError: it is no spec, or one of another version.
    """
    field_names = {field.name for field in fields(BackboneSpec)}
    if not set(values) <= field_names or values.get("source") not in ("torchvision", "timm"):
        raise ValueError("no row of a backbone")
    if not re.fullmatch(r"(timm/)?[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?", str(values.get("name"))):
        raise ValueError("no name of a backbone")
    # JSON and TOML have lists only; the frozen spec holds tuples.
    spec_values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    try:
        return update_cam_layer(json_fields.build_dataclass(BackboneSpec, spec_values, ignore_unknown=False))
    except TypeError as cause:
        raise ValueError("no row of a backbone") from cause


def update_cam_layer(spec: BackboneSpec) -> BackboneSpec:
    """Return a spec with today's target layer: that of older versions gave a map of values before the activation."""
    return replace(spec, cam=_FORMER_CAM_LAYERS.get((spec.name, spec.cam), spec.cam))


def _load_specs() -> dict[str, BackboneSpec]:
    """Return the specs of `backbones.toml` by name."""
    with Path(__file__).with_suffix(".toml").open("rb") as file:
        return {name: spec_from_json({"name": name, **values}) for name, values in tomllib.load(file).items()}


BACKBONES: dict[str, BackboneSpec] = _load_specs()
"""The specs that ftlab ships, by name, in the order of the menu."""
TIMM_SPEC_CACHE: dict[str, BackboneSpec | ConfigError] = {}
"""Results of this process's lookups of timm models, by name: a spec, or why there is none."""


def check_backbone_name(name: str) -> None:
    """Check that a name can be that of a backbone; whether timm has such a model is only known to `get_backbone_spec`.

    Raises:
        ConfigError: it cannot; the message suggests similar names.
    """
    if name not in BACKBONES and not _TIMM_NAME_PATTERN.fullmatch(name):
        suggestions = difflib.get_close_matches(name, BACKBONES, n=3, cutoff=0.5) or list(BACKBONES)
        raise ConfigError("config.backbone", name=name, names=", ".join(suggestions))


def get_backbone_spec(name: str) -> BackboneSpec:
    """Return the spec of a backbone; the first time for a model of timm, this takes some seconds.

    Raises:
        ConfigError: there is no such backbone, or it cannot be used; the message says why, or suggests similar names.
    """
    spec = find_known_spec(name)
    if spec is None:
        try:
            spec = TIMM_SPEC_CACHE[name] = query_timm_spec(name)
            with suppress(OSError):  # the cache is optional: the next process looks it up again
                _save_spec(spec)
        except ConfigError as error:
            # Remember failures too, or each use of a wrong name would take seconds.
            TIMM_SPEC_CACHE[name] = error
            raise
    return spec


def find_known_spec(name: str) -> BackboneSpec | None:
    """Return the spec of a backbone if it is known without a lookup; None for a timm model not yet looked up.

    A name that cannot be a backbone's, or whose lookup failed before, raises `ConfigError`.
    """
    check_backbone_name(name)
    if name in BACKBONES:
        return BACKBONES[name]
    if name not in TIMM_SPEC_CACHE:
        try:
            TIMM_SPEC_CACHE[name] = spec_from_json(json.loads(file_io.read_regular_file(get_spec_file(name))))
        except (OSError, ValueError):  # not cached, or by another version
            return None
    spec = TIMM_SPEC_CACHE[name]
    if isinstance(spec, ConfigError):
        raise spec
    return spec


def get_default_rates(name: str) -> tuple[float, float]:
    """Return the learning rates of full and scratch mode that work without tuning.

    All models of timm have the same: a default must not depend on whether the model was looked up before.
    """
    spec = BACKBONES.get(name)
    return (spec.full_rate, spec.scratch_rate) if spec else _TIMM_LEARNING_RATES


def count_parameters(spec: BackboneSpec, num_outputs: int, mode: str, hidden_width: int = 0) -> tuple[int, int]:
    """Return the numbers of trainable parameters in a mode, with every phase of it reached, and of all parameters.

    Args:
        spec: the backbone.
        num_outputs: number of logits of the head.
        mode: `frozen`, `full` or `scratch`.
        hidden_width: width of the head's hidden layer, 0 for none.

    Returns:
        (trainable, total).
    """

    def count_head_parameters(width: int) -> int:
        """Return weights and biases of a head on `width` features."""
        return (
            (width + 1) * hidden_width + (hidden_width + 1) * num_outputs if hidden_width else (width + 1) * num_outputs
        )

    total = spec.parameters + sum(map(count_head_parameters, (spec.width, *spec.auxiliary_widths)))
    return (count_head_parameters(spec.width) if mode == "frozen" else total), total


def get_spec_file(name: str) -> Path:
    """Return the cache file of a timm model's spec; another version of timm or ftlab may derive another one."""
    version_folder = f"timm-{version('timm')}-ftlab-{__version__}"
    return user_dirs.get_ftlab_home() / "backbones" / version_folder / f"{name.removeprefix(TIMM_PREFIX)}.json"


def _save_spec(spec: BackboneSpec) -> None:
    """Write a spec to its cache file, by a rename: other processes may read it at the same time."""
    spec_file = get_spec_file(spec.name)
    spec_file.parent.mkdir(parents=True, exist_ok=True)
    part_path = spec_file.with_name(f"{spec_file.name}.{os.getpid()}.part")
    part_path.write_text(json.dumps(spec.to_json(), indent=1), encoding="utf-8")
    part_path.replace(spec_file)


def query_timm_spec(name: str) -> BackboneSpec:
    """Return the spec that `python -m ftlab backbones NAME --json` prints.

    Args:
        name: `timm/<model>` or `timm/<model>.<tag>`.

    Returns:
        The spec.

    Raises:
        ConfigError: the process failed, ran too long, or reported that timm has no such model.
    """
    # Another process, because this one must not import torch.
    command = [sys.executable, "-m", "ftlab", "backbones", name, "--json"]
    import_root = Path(__file__).resolve().parents[2]  # so that `-m ftlab` finds this copy of ftlab
    try:
        result = subprocess.run(
            command, cwd=import_root, capture_output=True, text=True, timeout=_LOOKUP_TIMEOUT_SECONDS, check=False
        )
        last_line = (result.stderr.strip().splitlines() or [""])[-1]
        if result.returncode == 2:  # an FtlabError, already a sentence for users
            raise ConfigError("config.told", sentence=last_line.removeprefix("ftlab: "))
        if result.returncode:
            raise ConfigError("config.lookup", name=name, cause=last_line)
        return spec_from_json(json.loads(result.stdout))
    except (OSError, subprocess.SubprocessError, ValueError) as cause:
        raise ConfigError("config.lookup", name=name, cause=cause) from cause
