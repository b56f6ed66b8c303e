"""The row of one of timm's models, found by building it and letting a picture through.

What its weights want of a picture stands in timm's own configuration. Where Grad-CAM looks is found by trial: the
last layer that still tells places apart, and whose evidence differs from place to place.
"""

from __future__ import annotations

import difflib
import math
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil
import timm
import torch
from timm.models import PretrainedCfg, get_pretrained_cfg, is_model, list_models, list_pretrained
from torch import Tensor, nn

from ftlab.config.backbones import TIMM, Backbone, rates
from ftlab.core.errors import ConfigError
from ftlab.models import cam_layers
from ftlab.models.cam_layers import Layer

_TRIED = 40
"""Layers that are tried for Grad-CAM, from the last one back."""


def describe(name: str) -> Backbone:
    """The row of `timm/<model>` or `timm/<model>.<tag>`. It builds the model: seconds, and its memory.

    Raises:
        ConfigError: timm has no such model or weights, or it cannot be used on pictures; the message says why.
    """
    model, _, tag = name.removeprefix(TIMM).partition(".")
    _there(model, tag)
    facts = get_pretrained_cfg(name.removeprefix(TIMM)) or PretrainedCfg()
    channels, side, width = facts.input_size
    if channels != 3 or side != width:
        raise ConfigError("config.timm_input", name=name, shape=f"{channels} × {side} × {width}")
    _hold_in_memory(name)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = timm.create_model(name.removeprefix(TIMM), pretrained=False, num_classes=0)
            tried = _try(module, side)
    except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, NotImplementedError) as cause:
        raise ConfigError("config.timm_output", name=name, cause=(str(cause).splitlines() or ["?"])[0]) from cause
    full, scratch = rates(name)
    parameters = sum(p.numel() for p in module.parameters())
    return Backbone(
        name=name,
        title=name.removeprefix(TIMM),
        source="timm",
        weights=(facts.tag or "") if facts.has_weights else "",
        weights_file=_file(facts),
        weights_hub=facts.hf_hub_id or "",
        weights_url=_url(facts),
        megabytes=round(4e-6 * (parameters + (tried.width + 1) * facts.num_classes), 1),
        licence=(facts.license or "") if facts.has_weights else "",
        resize=math.floor(side / facts.crop_pct),
        side=side,
        interpolation="bilinear" if facts.interpolation == "bilinear" else "bicubic",
        mean=_three(facts.mean),
        std=_three(facts.std),
        head="",
        width=tried.width,
        parameters=parameters,
        cam=tried.cam.path,
        cam_layout=tried.cam.layout,
        cam_tokens=tried.cam.tokens,
        convolutional=sum(isinstance(part, nn.Conv2d) for part in module.modules()) > 1,
        full_rate=full,
        scratch_rate=scratch,
        speed=max(1, round(tried.speed)),
        paper=_paper(facts.paper_ids),
    )


@dataclass(frozen=True)
class _Trial:
    """What letting a picture through showed: length of its features, where Grad-CAM looks, pictures per second."""

    width: int
    cam: Layer
    speed: float


def _there(model: str, tag: str) -> None:
    if not is_model(model):
        near = difflib.get_close_matches(model, list_models(), n=5, cutoff=0.5) or list_models(f"*{model}*")[:5]
        raise ConfigError("config.timm", name=model, names=", ".join(near) or "–")
    tags = [one.partition(".")[2] for one in list_pretrained(f"{model}.*")]
    if tag and tag not in tags:
        raise ConfigError("config.timm_tag", name=model, tag=tag, names=", ".join(tags) or "none")


def _hold_in_memory(name: str) -> None:
    """Whether there is room for the model, before there is none left for anything else."""
    try:
        with torch.device("meta"):
            module = timm.create_model(name.removeprefix(TIMM), pretrained=False, num_classes=0)
    except (RuntimeError, NotImplementedError):  # its code looks at numbers: it must be built to be known
        return
    parameters = sum(p.numel() for p in module.parameters())
    if 8 * parameters > psutil.virtual_memory().available:  # float32, and as much again for what goes through
        raise ConfigError("config.timm_memory", name=name, millions=f"{parameters / 1e6:,.0f}")


def _file(facts: Any) -> str:
    if facts.hf_hub_id:
        return str(facts.hf_hub_filename or "model.safetensors")
    return str(facts.url or "").rpartition("/")[2]


def _url(facts: Any) -> str:
    return "" if facts.hf_hub_id else str(facts.url or "")


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _paper(ids: Any) -> str:
    return ids if isinstance(ids, str) else ", ".join(ids or ())


def _try(module: nn.Module, side: int) -> _Trial:
    """Let a picture through in evaluation, and two in training.

    Raises:
        ValueError: what comes out is no vector for each picture.
    """
    picture = cam_layers.patches(side)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():  # what starts at zero lets nothing through, and every map would be the same
                parameter.normal_(generator=generator)
        _check(module.train()(picture))
        module.eval()
        telling: list[Layer] = []
        began = time.perf_counter()
        features = cam_layers.run(module, picture[:1], None, partial(cam_layers.list_layer, telling))
        seconds = time.perf_counter() - began
    _check(features)
    found = cam_layers.differing(module.requires_grad_(False), picture[:1], telling[-_TRIED:])
    return _Trial(features.shape[1], found[-1] if found else Layer("", "chw", 0), 1 / max(seconds, 1e-4))


def _check(features: Any) -> None:
    if not isinstance(features, Tensor):
        raise ValueError(f"a {type(features).__name__}")
    if features.ndim != 2:
        raise ValueError(" × ".join(map(str, features.shape)))
