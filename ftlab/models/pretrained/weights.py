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

from ftlab.config.backbones import DEFAULT, TABLE, TIMM, Backbone
from ftlab.core.errors import WeightsError
from ftlab.models.pretrained import download, libraries

if TYPE_CHECKING:
    from torch import Tensor, nn

_OTHER_NAME = "pytorch_model.bin"
"""What a repository of the hub calls its file where it has no safetensors."""


@dataclass(frozen=True)
class Whereabouts:
    """Where a backbone's weights are.

    Attributes:
        file: where the file is, or where it is looked for when a person puts it there by hand.
        ready: it is there.
        megabytes: its size, to download or downloaded.
    """

    file: Path
    ready: bool
    megabytes: float


def locate(row: Backbone) -> Whereabouts:
    """Where the weights of a row are; touches no network and imports no torch."""
    if row.weights_package:
        spec = importlib.util.find_spec(row.weights_package)
        folder = Path(next(iter(spec.submodule_search_locations or ["."]))) if spec else Path(row.weights_package)
        file = folder / "models" / row.weights_file
        return Whereabouts(file, file.is_file(), row.megabytes)
    home = Path(os.environ.get("TORCH_HOME") or _cache() / "torch").expanduser()
    # A repository's files all have the same name: put here by hand, one is told by the model's.
    name = f"{_builder(row)}{Path(row.weights_file).suffix}" if row.weights_hub else row.weights_file
    file = home / "hub" / "checkpoints" / name
    cached = _in_hub_cache(row) if row.weights_hub and not file.is_file() else None
    return Whereabouts(cached or file, cached is not None or file.is_file(), row.megabytes)


def address(row: Backbone) -> str:
    """Where the file of a row comes from."""
    if row.weights_hub:
        return f"https://huggingface.co/{row.weights_hub}/resolve/main/{row.weights_file}"
    if row.weights_url or not row.weights:
        return row.weights_url
    from torchvision.models import get_model_weights

    return str(get_model_weights(row.name)[row.weights].url)


def fetch(row: Backbone) -> Iterator[tuple[int, int]]:
    """Download a row's weights unless they are here: bytes so far and in all, twice a second.

    Raises:
        WeightsError: they are not to be had; the message says where to put them by hand.
    """
    found = locate(row)
    if found.ready or row.weights_package:
        return
    if not row.weights:
        raise WeightsError("weights.none", title=row.title)
    try:
        if row.weights_hub:
            work = download.from_hub(row.weights_hub, (row.weights_file, _OTHER_NAME), _hub_cache())
        else:
            work = download.from_url(address(row), found.file, row.sha256)
        for count in work:
            yield count.done, max(count.done, count.total or round(row.megabytes * 1e6))
    except (OSError, RuntimeError) as cause:
        raise WeightsError(
            "weights.missing",
            title=row.title,
            cause=_why(cause),
            megabytes=f"{row.megabytes:.0f}",
            address=address(row),
            file=found.file,
            default=TABLE[DEFAULT].title,
        ) from cause


def load(row: Backbone) -> nn.Module:
    """The source's module of a row with its pretrained weights, as `build` makes it. They are downloaded first where
    they are not here.

    Raises:
        WeightsError: the file is not here and cannot be downloaded, or is damaged.
    """
    for _ in fetch(row):
        continue
    found = locate(row)
    module = build(row)
    try:
        if row.source == "torchvision":
            module.load_state_dict(_torchvisions(row))
        elif row.weights_package:
            # The package's names differ from timm's; the tensors are the same, one to one, in the same order.
            module.load_state_dict(dict(zip(module.state_dict(), _stored(found.file).values(), strict=True)))
        else:
            own = _timms(row, _stored(found.file))
            module.load_state_dict({name: own[name] for name in module.state_dict()})
    # torch raises nearly anything for a damaged file: EOFError, KeyError, its own kinds … It is the file's fault.
    except Exception as cause:
        raise WeightsError("weights.damaged", title=row.title, file=found.file, cause=_why(cause)) from cause
    return module


def build(row: Backbone) -> nn.Module:
    """The source's module of a row with random weights: with its classifier of 1000 classes if the row says where it
    sits, else without."""
    models = libraries.package(row.source)
    made: nn.Module
    if row.source == "timm":
        bare: dict[str, Any] = {} if row.head else {"num_classes": 0}
        made = models.create_model(_builder(row), pretrained=False, **bare)
    else:
        # The two with auxiliary classifiers ask whether to draw their weights as they were published.
        made = models.get_model(row.name, weights=None, **({"init_weights": True} if row.auxiliary else {}))
    return made


def _builder(row: Backbone) -> str:
    """timm's name of a model, with the tag: the size of its pictures may depend on that."""
    model, _, tag = row.name.removeprefix(TIMM).partition(".")
    return f"{model}.{tag or row.weights}" if row.name.startswith(TIMM) and (tag or row.weights) else model


def _stored(file: Path) -> dict[str, Tensor]:
    from timm.models import load_state_dict

    return dict(load_state_dict(str(file), use_ema=False, weights_only=True))


def _torchvisions(row: Backbone) -> Mapping[str, Any]:
    from torchvision.models import get_model_weights

    # Not `get_model(weights=…)`: it would run whatever code the file holds.
    member = get_model_weights(row.name)[row.weights]
    # No copy as a plain dict: the versions of the modules hang on it.
    stored: Mapping[str, Any] = member.get_state_dict(check_hash=True, weights_only=True)
    return stored


def _timms(row: Backbone, stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a file of timm's holds, under the names and in the shapes of today's module: the model itself, with the
    classifier it was saved with, converts them, and takes no file that lacks one."""
    import timm

    overlay = {"state_dict": stored}
    return dict(timm.create_model(_builder(row), pretrained=True, pretrained_cfg_overlay=overlay).state_dict())


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def _hub_cache() -> Path:
    home = Path(os.environ.get("HF_HOME") or _cache() / "huggingface").expanduser()
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


def _in_hub_cache(row: Backbone) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = (
        try_to_load_from_cache(row.weights_hub, name, cache_dir=_hub_cache())
        for name in (row.weights_file, _OTHER_NAME)
    )
    return next((Path(one) for one in found if isinstance(one, str)), None)


def _why(cause: BaseException) -> str:
    """The first line of what an error says; nothing of one whose advice would be to run a file's code."""
    cause = cause.reason if isinstance(cause, URLError) and isinstance(cause.reason, OSError) else cause
    said = str(cause).splitlines() if isinstance(cause, (OSError, RuntimeError)) else []
    return said[0].rstrip(".:") if said else type(cause).__name__
