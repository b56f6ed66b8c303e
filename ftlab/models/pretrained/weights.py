"""Pretrained weights: where they are, how they get here, and how they get into a module. torch is imported only to
load them.

The loaders and caches are those of torchvision (`TORCH_HOME`), of the Hugging Face Hub, where timm's are (`HF_HOME`),
and, for the default backbone, a package that ships the file; nothing is downloaded that is here already.
"""

from __future__ import annotations

import importlib.util
import os
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
"""What a repository of the hub calls its file where it has no safetensors."""


@dataclass(frozen=True)
class WeightsLocation:
    """Where a backbone's weights are.

    Attributes:
        file: where the file is, or where it is looked for when a person puts it there by hand.
        ready: it is there.
        megabytes: its size, to download or downloaded.
    """

    file: Path
    ready: bool
    megabytes: float


def locate_weights(spec: BackboneSpec) -> WeightsLocation:
    """Where the weights of a row are; touches no network and imports no torch."""
    if spec.weights_package:
        package_spec = importlib.util.find_spec(spec.weights_package)
        folder = (
            Path(next(iter(package_spec.submodule_search_locations or ["."])))
            if package_spec
            else Path(spec.weights_package)
        )
        file = folder / "models" / spec.weights_file
        return WeightsLocation(file, file.is_file(), spec.megabytes)
    torch_home = Path(os.environ.get("TORCH_HOME") or _get_cache_root() / "torch").expanduser()
    # A repository's files all have the same name: put here by hand, one is told by the model's.
    filename = f"{_get_timm_name(spec)}{Path(spec.weights_file).suffix}" if spec.weights_hub else spec.weights_file
    file = torch_home / "hub" / "checkpoints" / filename
    cached_file = _find_in_hub_cache(spec) if spec.weights_hub and not file.is_file() else None
    return WeightsLocation(cached_file or file, cached_file is not None or file.is_file(), spec.megabytes)


def get_weights_url(spec: BackboneSpec) -> str:
    """Where the file of a row comes from."""
    if spec.weights_hub:
        return f"https://huggingface.co/{spec.weights_hub}/resolve/main/{spec.weights_file}"
    if spec.weights_url or not spec.weights:
        return spec.weights_url
    from torchvision.models import get_model_weights

    return str(get_model_weights(spec.name)[spec.weights].url)


def download_weights(spec: BackboneSpec) -> Iterator[tuple[int, int]]:
    """Download a row's weights unless they are here: bytes so far and in all, twice a second.

    Raises:
        WeightsError: they are not to be had; the message says where to put them by hand.
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
    """The source's module of a row with its pretrained weights, as `build_module` makes it. They are downloaded first where
    they are not here.

    Raises:
        WeightsError: the file is not here and cannot be downloaded, or is damaged.
    """
    for _ in download_weights(spec):
        continue
    location = locate_weights(spec)
    module = build_module(spec)
    try:
        if spec.source == "torchvision":
            module.load_state_dict(_load_torchvision_state(spec))
        elif spec.weights_package:
            # The package's names differ from timm's; the tensors are the same, one to one, in the same order.
            module.load_state_dict(
                dict(zip(module.state_dict(), _read_state_dict(location.file).values(), strict=True))
            )
        else:
            state_dict = _convert_timm_state(spec, _read_state_dict(location.file))
            module.load_state_dict({name: state_dict[name] for name in module.state_dict()})
    # torch raises nearly anything for a damaged file: EOFError, KeyError, its own kinds … It is the file's fault.
    except Exception as cause:
        raise WeightsError(
            "weights.damaged", title=spec.title, file=location.file, cause=_summarize_error(cause)
        ) from cause
    return module


def build_module(spec: BackboneSpec) -> nn.Module:
    """The source's module of a row with random weights: with its classifier of 1000 classes if the row says where it
    sits, else without."""
    library = libraries.import_library(spec.source)
    module: nn.Module
    if spec.source == "timm":
        head_options: dict[str, Any] = {} if spec.head else {"num_classes": 0}
        module = library.create_model(_get_timm_name(spec), pretrained=False, **head_options)
    else:
        # The two with auxiliary classifiers ask whether to draw their weights as they were published.
        module = library.get_model(spec.name, weights=None, **({"init_weights": True} if spec.auxiliary else {}))
    return module


def _get_timm_name(spec: BackboneSpec) -> str:
    """timm's name of a model, with the tag: the size of its pictures may depend on that."""
    model, _, tag = spec.name.removeprefix(TIMM_PREFIX).partition(".")
    return f"{model}.{tag or spec.weights}" if spec.name.startswith(TIMM_PREFIX) and (tag or spec.weights) else model


def _read_state_dict(file: Path) -> dict[str, Tensor]:
    from timm.models import load_state_dict

    return dict(load_state_dict(str(file), use_ema=False, weights_only=True))


def _load_torchvision_state(spec: BackboneSpec) -> Mapping[str, Any]:
    from torchvision.models import get_model_weights

    # Not `get_model(weights=…)`: it would run whatever code the file holds.
    weights_entry = get_model_weights(spec.name)[spec.weights]
    # No copy as a plain dict: the versions of the modules hang on it.
    state_dict: Mapping[str, Any] = weights_entry.get_state_dict(check_hash=True, weights_only=True)
    return state_dict


def _convert_timm_state(spec: BackboneSpec, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a file of timm's holds, under the names and in the shapes of today's module: the model itself, with the
    classifier it was saved with, converts them, and takes no file that lacks one."""
    import timm

    overlay = {"state_dict": state_dict}
    return dict(timm.create_model(_get_timm_name(spec), pretrained=True, pretrained_cfg_overlay=overlay).state_dict())


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
    """The first line of what an error says; nothing of one whose advice would be to run a file's code."""
    cause = cause.reason if isinstance(cause, URLError) and isinstance(cause.reason, OSError) else cause
    lines = str(cause).splitlines() if isinstance(cause, (OSError, RuntimeError)) else []
    return lines[0].rstrip(".:") if lines else type(cause).__name__
