"""Pretrained weights: where they are, how they are downloaded, and how a module gets them.

torch is imported only to load them. Loaders and caches are those of torchvision (`TORCH_HOME`), of the Hugging Face
Hub, which has timm's (`HF_HOME`), and, for the default backbone, a package that ships the file; nothing that is here
already is downloaded.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

from ftlab.config.backbones import BACKBONES, DEFAULT_BACKBONE, TIMM_PREFIX, BackboneSpec
from ftlab.core.errors import WeightsError
from ftlab.models.pretrained import download, libraries

if TYPE_CHECKING:
    from torch import Tensor, nn

_FALLBACK_FILENAME = "pytorch_model.bin"
"""Name of the weights file in a hub repository that has no safetensors."""
_OLD_DENSENET_PATTERN = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""Names of tensors such as `denselayer1.norm.1.weight`, today `denselayer1.norm1.weight`."""


@dataclass(frozen=True)
class WeightsLocation:
    """Location of a backbone's weights.

    Attributes:
        file: where the file is, or where it is expected if a person puts it there by hand.
        ready: whether it is there.
        megabytes: its size, 10^6 bytes.
    """

    file: Path
    ready: bool
    megabytes: float


def locate_weights(spec: BackboneSpec) -> WeightsLocation:
    """Locate the weights of a backbone; uses no network connection and imports no torch.

    Args:
        spec: of the backbone.

    Returns:
        The location.
    """
    if spec.weights_package:
        # Located without importing it.
        package_spec = importlib.util.find_spec(spec.weights_package)
        folder = (
            Path(next(iter(package_spec.submodule_search_locations or ["."])))
            if package_spec
            else Path(spec.weights_package)
        )
        file = folder / "models" / spec.weights_file
        return WeightsLocation(file, file.is_file(), spec.megabytes)
    torch_home = Path(os.environ.get("TORCH_HOME") or _get_cache_root() / "torch").expanduser()
    # All repositories name their file alike: one that is put here by hand must be named after the model.
    filename = f"{get_timm_name(spec)}{Path(spec.weights_file).suffix}" if spec.weights_hub else spec.weights_file
    file = torch_home / "hub" / "checkpoints" / filename
    cached_file = _find_in_hub_cache(spec) if spec.weights_hub and not file.is_file() else None
    return WeightsLocation(cached_file or file, cached_file is not None or file.is_file(), spec.megabytes)


def get_weights_url(spec: BackboneSpec) -> str:
    """Return the address of a backbone's weights file; empty if there is none."""
    if spec.weights_hub:
        return f"https://huggingface.co/{spec.weights_hub}/resolve/main/{spec.weights_file}"
    if spec.weights_url or not spec.weights:
        return spec.weights_url
    from torchvision.models import get_model_weights

    return str(get_model_weights(spec.name)[spec.weights].url)


def download_weights(spec: BackboneSpec) -> Iterator[tuple[int, int]]:
    """Download a backbone's weights unless they are here.

    Args:
        spec: of the backbone.

    Yields:
        Bytes so far and in all, twice a second.

    Raises:
        WeightsError: they cannot be downloaded; the message says where to put the file by hand.
    """
    location = locate_weights(spec)
    if location.ready or spec.weights_package:
        return
    if not spec.weights:
        raise WeightsError("weights.none", title=spec.title)
    try:
        if spec.weights_hub:
            download_steps = download.download_from_hub(
                spec.weights_hub, (spec.weights_file, _FALLBACK_FILENAME), _get_hub_cache()
            )
        else:
            download_steps = download.download_from_url(get_weights_url(spec), location.file, spec.sha256)
        for progress in download_steps:
            yield (
                progress.downloaded_bytes,
                max(progress.downloaded_bytes, progress.total_bytes or round(spec.megabytes * 1e6)),
            )
    except (OSError, RuntimeError) as cause:
        raise WeightsError(
            "weights.missing",
            title=spec.title,
            cause=_summarize_error(cause),
            megabytes=f"{spec.megabytes:.0f}",
            address=get_weights_url(spec),
            file=location.file,
            default=BACKBONES[DEFAULT_BACKBONE].title,
        ) from cause


def load_pretrained(spec: BackboneSpec) -> nn.Module:
    """Build a backbone's module as `build_module` does, and load its pretrained weights, downloaded first if necessary.

    Weights that cannot be downloaded give WeightsError too.

    Args:
        spec: of the backbone.

    Returns:
        The module, on the CPU.

    Raises:
        WeightsError: the file is damaged.
    """
    # Runs the download to its end; whoever wants to show progress has called it before.
    for _ in download_weights(spec):
        continue
    location = locate_weights(spec)
    module = build_module(spec)
    try:
        if spec.source == "torchvision":
            module.load_state_dict(_load_torchvision_state(spec))
        elif spec.weights_package:
            # The package's names differ from timm's; the tensors are the same, in the same order.
            module.load_state_dict(
                dict(zip(module.state_dict(), _read_state_dict(location.file).values(), strict=True))
            )
        else:
            state_dict = _convert_timm_state(spec, _read_state_dict(location.file))
            module.load_state_dict({name: state_dict[name] for name in module.state_dict()})
    # torch raises nearly anything for a damaged file: EOFError, KeyError, errors of its own …
    except Exception as cause:
        raise WeightsError(
            "weights.damaged", title=spec.title, file=location.file, cause=_summarize_error(cause)
        ) from cause
    return module


def build_module(spec: BackboneSpec) -> nn.Module:
    """Build a backbone's module with random weights.

    Args:
        spec: of the backbone.

    Returns:
        The library's module: with its classifier of 1000 classes if `spec.head` says where it is, else without.
    """
    library = libraries.import_library(spec.source)
    module: nn.Module
    if spec.source == "timm":
        head_options: dict[str, Any] = {} if spec.head else {"num_classes": 0}
        module = library.create_model(get_timm_name(spec), pretrained=False, **head_options)
    else:
        # GoogLeNet and Inception v3 warn unless the caller says whether to initialize their weights as published.
        module = library.get_model(spec.name, weights=None, **({"init_weights": True} if spec.auxiliary else {}))
        if spec.name.startswith("densenet"):
            module = _name_final_relu(module)
    return module


def _name_final_relu(densenet: nn.Module) -> nn.Module:
    """Return torchvision's DenseNet with its last activation as a module, `relu5`, which Grad-CAM can look at.

    torchvision calls the activation and the pooling as functions. The names of the tensors stay.
    """
    from torch import nn

    layers = {
        "features": densenet.get_submodule("features"),
        "relu5": nn.ReLU(inplace=True),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "classifier": densenet.get_submodule("classifier"),
    }
    return nn.Sequential(OrderedDict(layers))


def get_timm_name(spec: BackboneSpec) -> str:
    """Return the model's name in timm with the tag, which may determine the input size."""
    model, _, tag = spec.name.removeprefix(TIMM_PREFIX).partition(".")
    return f"{model}.{tag or spec.weights}" if spec.name.startswith(TIMM_PREFIX) and (tag or spec.weights) else model


def _read_state_dict(file: Path) -> dict[str, Tensor]:
    from timm.models import load_state_dict

    return dict(load_state_dict(str(file), use_ema=False, weights_only=True))


def _load_torchvision_state(spec: BackboneSpec) -> Mapping[str, Any]:
    from torchvision.models import get_model_weights

    # Not `get_model(weights=…)`: that unpickles the file, which runs whatever code it holds.
    weights_entry = get_model_weights(spec.name)[spec.weights]
    # Not copied to a plain dict: its `_metadata` has the versions of the modules.
    state_dict: dict[str, Any] = weights_entry.get_state_dict(check_hash=True, weights_only=True)
    # DenseNet's files are older than today's names, which torchvision gives them in a loader of its own.
    for name in list(state_dict):
        today_name = _OLD_DENSENET_PATTERN.sub(r"\1\2", name)
        if today_name != name:
            state_dict[today_name] = state_dict.pop(name)
    return state_dict


def _convert_timm_state(spec: BackboneSpec, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert the tensors of a timm file to the names and shapes of today's module.

    timm's own model does it, built with the classifier that the file was saved with: it accepts no file without one.

    Args:
        spec: of the backbone.
        state_dict: as the file holds it.

    Returns:
        Tensors by today's names, the classifier's included.
    """
    import timm

    overlay = {"state_dict": state_dict}
    return dict(timm.create_model(get_timm_name(spec), pretrained=True, pretrained_cfg_overlay=overlay).state_dict())


def _get_cache_root() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def _get_hub_cache() -> Path:
    hf_home = Path(os.environ.get("HF_HOME") or _get_cache_root() / "huggingface").expanduser()
    return Path(os.environ.get("HF_HUB_CACHE") or hf_home / "hub").expanduser()


def _find_in_hub_cache(spec: BackboneSpec) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    cached_paths = (
        try_to_load_from_cache(spec.weights_hub, filename, cache_dir=_get_hub_cache())
        for filename in (spec.weights_file, _FALLBACK_FILENAME)
    )
    return next((Path(cached_path) for cached_path in cached_paths if isinstance(cached_path, str)), None)


def _summarize_error(cause: BaseException) -> str:
    """Return the first line of an error's message, or its type if the message could advise to run a file's code."""
    cause = cause.reason if isinstance(cause, URLError) and isinstance(cause.reason, OSError) else cause
    lines = str(cause).splitlines() if isinstance(cause, (OSError, RuntimeError)) else []
    return lines[0].rstrip(".:") if lines else type(cause).__name__
