"""Lines of Python that load an exported model with PyTorch and its libraries alone."""

from __future__ import annotations

from ftlab.data.transforms.preprocess import Preprocessing

_TRANSFORM_LINES = """
transform = v2.Compose([
    v2.ToImage(),  # not on Pillow's images, which it resizes a little differently
    v2.Resize({size}, interpolation=v2.InterpolationMode.{interpolation}, antialias=True),
    v2.CenterCrop({side}),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize({mean}, {std}),
])
"""


def write_transform_lines(prep: Preprocessing) -> str:
    """Return the lines that build `transform`, from an RGB image to the normalized square of the network.

    They need `torch` and torchvision's `v2`.

    Args:
        prep: the preprocessing.
    """
    size = [prep.resize, prep.resize] if prep.resize_mode == "squash" else prep.resize
    return _TRANSFORM_LINES.strip().format(
        size=size,
        interpolation=prep.interpolation.upper(),
        side=prep.side,
        mean=list(prep.mean),
        std=list(prep.std),
    )
