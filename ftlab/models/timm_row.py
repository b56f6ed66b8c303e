"""The row of one of timm's models, found by building it and letting a picture through.

What its weights want of a picture stands in timm's own configuration. Where Grad-CAM looks is found by trial: the
last layer that still tells places apart, and whose evidence differs from place to place.
"""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Any

import psutil
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
class _Layer:
    """One whose output tells places apart; layout and tokens as in a row. No path: there is none."""

    path: str
    layout: str
    tokens: int


@dataclass(frozen=True)
class _Trial:
    """What letting a picture through showed: length of its features, where Grad-CAM looks, pictures per second."""

    width: int
    cam: _Layer
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
    generator = torch.Generator().manual_seed(0)
    # Patches of one colour: noise is the same all over to a layer that looks at much of it.
    picture = F.interpolate(2 * torch.randn(2, 3, 4, 4, generator=generator), side, mode="bilinear")
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():  # what starts at zero lets nothing through, and every map would be the same
                parameter.normal_(generator=generator)
        _check(module.train()(picture))
        module.eval()
        telling: list[_Layer] = []
        began = time.perf_counter()
        _pass(module, picture[:1], None, lambda path, output: _list(telling, path, output))
        seconds = time.perf_counter() - began
    outputs: dict[str, Tensor] = {}
    tried = {layer.path: layer for layer in telling[-_TRIED:]}
    module.requires_grad_(False)
    features = _pass(module, picture[:1], tried, lambda path, output: _keep(outputs, path, output))
    _check(features)
    found = next(_mapped(features, [tried[path] for path in outputs][::-1], outputs), None)
    return _Trial(features.shape[1], found or _Layer("", "chw", 0), 1 / max(seconds, 1e-4))


def _pass(
    module: nn.Module, picture: Tensor, only: Container[str] | None, take: Callable[[str, Tensor], Tensor | None]
) -> Any:
    """Let a picture through, and `take` what comes out of each layer, in order; of `only` these if they are named. What
    it gives back goes on instead."""
    handles = [
        part.register_forward_hook(lambda _m, _i, output, path=path: take(path, output))
        for path, part in module.named_modules()
        # Inside of attention, and at its gates, values are mixed anew: what differs there is no feature of a place.
        if path and not isinstance(part, nn.Identity) and "att" not in path and "qkv" not in path
        if only is None or path in only
    ]
    try:
        return module(picture)
    finally:
        for handle in handles:
            handle.remove()


def _list(layers: list[_Layer], path: str, output: Any) -> None:
    form = _form(output)
    layers[:] = [layer for layer in layers if layer.path != path]  # one that runs twice stands where it ran last
    if form is not None:
        layers.append(_Layer(path, *form))


def _keep(outputs: dict[str, Tensor], path: str, output: Tensor) -> Tensor:
    """What goes on is a copy, since later layers may work in place."""
    outputs.pop(path, None)
    outputs[path] = output if output.requires_grad else output.detach().requires_grad_()
    return outputs[path].clone()


def _check(features: Any) -> None:
    if not isinstance(features, Tensor):
        raise ValueError(f"a {type(features).__name__}")
    if features.ndim != 2:
        raise ValueError(" × ".join(map(str, features.shape)))


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


def _mapped(features: Tensor, layers: list[_Layer], outputs: dict[str, Tensor]) -> Iterator[_Layer]:
    """Those on which the features depend by places: the map of a random mixture of features is not the same
    everywhere."""
    mixture = torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    kept = [outputs[layer.path] for layer in layers]
    slopes = torch.autograd.grad((features * mixture).sum(), kept, allow_unused=True) if kept else ()
    for layer, output, slope in zip(layers, kept, slopes, strict=True):
        if slope is None:
            continue
        activation, gradient = (as_map(x.detach(), layer.layout, layer.tokens) for x in (output, slope))
        evidence = (gradient.mean(dim=(1, 2), keepdim=True) * activation).sum(0)
        if evidence.isfinite().all() and float(evidence.max() - evidence.min()) > 1e-4 * float(evidence.abs().max()):
            yield layer
