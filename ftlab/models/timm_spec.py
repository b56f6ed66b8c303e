"""Backbone specification of a timm model, found by building it and running a probe image through it.

The preprocessing that its weights expect is in timm's own configuration. The target layer of Grad-CAM is found by
trial: the last layer with a spatial grid whose evidence varies over it.
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

from ftlab.config.backbones import TIMM_PREFIX, BackboneSpec, get_default_rates
from ftlab.core.errors import ConfigError
from ftlab.models import cam_layers
from ftlab.models.cam_layers import CamLayer

_MAX_CAM_TRIALS = 40
"""Layers that are tried for Grad-CAM, from the last one back."""


def describe_timm_model(name: str) -> BackboneSpec:
    """Derive the spec of `timm/<model>` or `timm/<model>.<tag>`.

    Builds the model, which takes seconds and its memory. A name that timm does not know gives ConfigError too.

    Returns:
        The spec.

    Raises:
        ConfigError: the model cannot be used on square RGB images, or not as a backbone; the message says why.
    """
    model, _, tag = name.removeprefix(TIMM_PREFIX).partition(".")
    _check_model_exists(model, tag)
    pretrained_cfg = get_pretrained_cfg(name.removeprefix(TIMM_PREFIX)) or PretrainedCfg()
    channels, height, width = pretrained_cfg.input_size
    if channels != 3 or height != width:
        raise ConfigError("config.timm_input", name=name, shape=f"{channels} × {height} × {width}")
    _check_memory(name)
    try:
        # The caller's random state is left as it was; the probe gives the same result each time.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = timm.create_model(name.removeprefix(TIMM_PREFIX), pretrained=False, num_classes=0)
            probe = _probe_model(module, height)
    except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, NotImplementedError) as cause:
        raise ConfigError("config.timm_output", name=name, cause=(str(cause).splitlines() or ["?"])[0]) from cause
    full_lr, scratch_lr = get_default_rates(name)
    parameters = sum(p.numel() for p in module.parameters())
    return BackboneSpec(
        name=name,
        title=name.removeprefix(TIMM_PREFIX),
        source="timm",
        weights=(pretrained_cfg.tag or "") if pretrained_cfg.has_weights else "",
        weights_file=_get_weights_filename(pretrained_cfg),
        weights_hub=pretrained_cfg.hf_hub_id or "",
        weights_url=_get_weights_url(pretrained_cfg),
        # 4 bytes a parameter, the classifier's included: what is to be downloaded.
        megabytes=round(4e-6 * (parameters + (probe.feature_dim + 1) * pretrained_cfg.num_classes), 1),
        licence=(pretrained_cfg.license or "") if pretrained_cfg.has_weights else "",
        # `crop_pct` is the crop's fraction of the resized short side.
        resize=math.floor(height / pretrained_cfg.crop_pct),
        side=height,
        interpolation="bilinear" if pretrained_cfg.interpolation == "bilinear" else "bicubic",
        mean=_as_rgb_triple(pretrained_cfg.mean),
        std=_as_rgb_triple(pretrained_cfg.std),
        head="",
        width=probe.feature_dim,
        parameters=parameters,
        cam=probe.cam_layer.path,
        cam_layout=probe.cam_layer.layout,
        cam_tokens=probe.cam_layer.num_prefix_tokens,
        # A transformer's patch embedding is a single convolution.
        convolutional=sum(isinstance(submodule, nn.Conv2d) for submodule in module.modules()) > 1,
        full_rate=full_lr,
        scratch_rate=scratch_lr,
        speed=max(1, round(probe.images_per_second)),
        paper=_join_paper_ids(pretrained_cfg.paper_ids),
    )


@dataclass(frozen=True)
class _ProbeResult:
    """Result of a forward pass of a probe image.

    Attributes:
        feature_dim: D of the feature vector.
        cam_layer: target layer for Grad-CAM.
        images_per_second: of one image at a time.
    """

    feature_dim: int
    cam_layer: CamLayer
    images_per_second: float


def _check_model_exists(model: str, tag: str) -> None:
    if not is_model(model):
        suggestions = difflib.get_close_matches(model, list_models(), n=5, cutoff=0.5) or list_models(f"*{model}*")[:5]
        raise ConfigError("config.timm", name=model, names=", ".join(suggestions) or "–")
    tags = [tagged_name.partition(".")[2] for tagged_name in list_pretrained(f"{model}.*")]
    if tag and tag not in tags:
        raise ConfigError("config.timm_tag", name=model, tag=tag, names=", ".join(tags) or "none")


def _check_memory(name: str) -> None:
    """Make sure that the model fits the free memory, before it fills it.

    Raises:
        ConfigError: it does not.
    """
    try:
        with torch.device("meta"):
            module = timm.create_model(name.removeprefix(TIMM_PREFIX), pretrained=False, num_classes=0)
    except (RuntimeError, NotImplementedError):  # the code reads values, which meta tensors lack: its size is unknown
        return
    parameters = sum(p.numel() for p in module.parameters())
    if 8 * parameters > psutil.virtual_memory().available:  # 4 bytes a weight, and as much for activations
        raise ConfigError("config.timm_memory", name=name, millions=f"{parameters / 1e6:,.0f}")


def _get_weights_filename(pretrained_cfg: Any) -> str:
    if pretrained_cfg.hf_hub_id:
        return str(pretrained_cfg.hf_hub_filename or "model.safetensors")
    return str(pretrained_cfg.url or "").rpartition("/")[2]


def _get_weights_url(pretrained_cfg: Any) -> str:
    return "" if pretrained_cfg.hf_hub_id else str(pretrained_cfg.url or "")


def _as_rgb_triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _join_paper_ids(paper_ids: Any) -> str:
    return paper_ids if isinstance(paper_ids, str) else ", ".join(paper_ids or ())


def _probe_model(module: nn.Module, image_size: int) -> _ProbeResult:
    """Run one image through a model in evaluation mode, and two in training mode.

    Output that is no vector for each image gives ValueError.

    Args:
        module: without a classifier; left in evaluation mode.
        image_size: pixels of the input's side.

    Returns:
        What was measured.
    """
    images = cam_layers.make_probe_images(image_size)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            # timm zero-initializes the last BatchNorm of residual blocks: nothing passes, and maps would be constant.
            if not parameter.any():
                parameter.normal_(generator=generator)
        # Two images, for BatchNorm cannot be trained on one value per channel.
        _check_features(module.train()(images))
        module.eval()
        spatial_layers: list[CamLayer] = []
        start_time = time.perf_counter()
        features = cam_layers.run_with_hooks(
            module, images[:1], None, partial(cam_layers.record_spatial_layer, spatial_layers)
        )
        seconds = time.perf_counter() - start_time
    _check_features(features)
    useful_layers = cam_layers.informative_layers(
        # The last trials only: a backward pass keeps the outputs of all candidates in memory.
        module.requires_grad_(False),
        images[:1],
        spatial_layers[-_MAX_CAM_TRIALS:],
    )
    return _ProbeResult(
        features.shape[1], useful_layers[-1] if useful_layers else CamLayer("", "chw", 0), 1 / max(seconds, 1e-4)
    )


def _check_features(features: Any) -> None:
    if not isinstance(features, Tensor):
        raise ValueError(f"a {type(features).__name__}")
    if features.ndim != 2:
        raise ValueError(" × ".join(map(str, features.shape)))
