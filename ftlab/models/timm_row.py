"""The row of one of timm's models, found by building it and letting a picture through.

What its weights want of a picture stands in timm's own configuration. Where Grad-CAM looks is found by trial: the
last layer that still tells places apart, and whose evidence differs from place to place.
"""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.models import PretrainedCfg, get_pretrained_cfg, is_model, list_models, list_pretrained
from torch import Tensor, nn

from ftlab.backbones import TIMM, Backbone, rates
from ftlab.errors import ConfigError
from ftlab.models.cam_layout import as_map

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
        cam=tried.cam,
        cam_layout=tried.layout,
        cam_tokens=tried.tokens,
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
    cam: str
    layout: str
    tokens: int
    speed: float


def _there(model: str, tag: str) -> None:
    if not is_model(model):
        near = difflib.get_close_matches(model, list_models(), n=5, cutoff=0.5) or list_models(f"*{model}*")[:5]
        raise ConfigError("config.timm", name=model, names=", ".join(near) or "–")
    tags = [one.partition(".")[2] for one in list_pretrained(f"{model}.*")]
    if tag and tag not in tags:
        raise ConfigError("config.timm_tag", name=model, tag=tag, names=", ".join(tags) or "none")


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


@dataclass
class _Seen:
    """A layer's output, as a tensor on the way to the features."""

    path: str
    output: Tensor
    layout: str
    tokens: int


def _try(module: nn.Module, side: int) -> _Trial:
    """Let a picture through in evaluation, and two in training.

    Raises:
        ValueError: what comes out is no vector for each picture.
    """
    generator = torch.Generator().manual_seed(0)
    # Patches of one colour: noise is the same all over to a layer that looks at much of it.
    picture = F.interpolate(2 * torch.randn(2, 3, 4, 4, generator=generator), side, mode="bilinear")
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():  # what starts at zero lets nothing through, and every map would be the same
                parameter.normal_(generator=generator)
        answer = module.train()(picture)
        module.eval()
        _check(answer)
        began = time.perf_counter()
        module(picture[:1])
        seconds = time.perf_counter() - began
    found: list[_Seen] = []
    handles = [
        part.register_forward_hook(lambda _m, _i, output, path=path: _note(found, path, output))
        for path, part in module.named_modules()
        if path and "att" not in path and "qkv" not in path and not isinstance(part, nn.Identity)
    ]
    try:
        features = module.requires_grad_(False)(picture[:1])
    finally:
        for handle in handles:
            handle.remove()
    _check(features)
    best = next(_telling(features, found[::-1][:_TRIED]), None)
    width, speed = features.shape[1], 1 / max(seconds, 1e-4)
    if best is None:
        return _Trial(width, "", "chw", 0, speed)
    return _Trial(width, best.path, best.layout, best.tokens, speed)


def _check(features: Any) -> None:
    if not isinstance(features, Tensor):
        raise ValueError(f"a {type(features).__name__}")
    if features.ndim != 2:
        raise ValueError(" × ".join(map(str, features.shape)))


def _note(found: list[_Seen], path: str, output: Any) -> Tensor | None:
    """Keep an output that tells places apart; what goes on is a copy, since later layers may work in place."""
    form = _form(output)
    if form is None:
        return None
    kept = output if output.requires_grad else output.detach().requires_grad_()
    found.append(_Seen(path, kept, *form))
    return kept.clone()


def _form(output: Any) -> tuple[str, int] | None:
    """Layout of a layer's output, and how many tokens come before those of places; None if it has no places."""
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.shape[0] != 1:
        return None
    if output.ndim == 4:
        a, b, c = output.shape[1:]
        if b == c > 1:
            return "chw", 0
        return ("hwc", 0) if a == b > 1 else None
    if output.ndim == 3:
        count = output.shape[1]
        side = math.isqrt(count)
        if side > 1 and count - side * side <= 16:
            return "tokens", count - side * side
    return None


def _telling(features: Tensor, candidates: list[_Seen]) -> Iterator[_Seen]:
    """Those on which the features depend by places: the map of a random mixture of features is not the same
    everywhere."""
    mixture = torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    outputs = [one.output for one in candidates]
    slopes = torch.autograd.grad((features * mixture).sum(), outputs, allow_unused=True)
    for one, slope in zip(candidates, slopes, strict=True):
        if slope is None:
            continue
        activation, gradient = (as_map(x.detach(), one.layout, one.tokens) for x in (one.output, slope))
        evidence = (gradient.mean(dim=(1, 2), keepdim=True) * activation).sum(0)
        if evidence.isfinite().all() and float(evidence.max() - evidence.min()) > 1e-4 * float(evidence.abs().max()):
            yield one
