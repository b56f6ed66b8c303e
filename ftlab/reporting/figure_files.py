"""Files of figures and of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftlab.core.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg", ".jpeg")
"""File name suffixes that a figure can be saved with."""
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
"""File name suffixes that `save_image` knows."""
_JPEG_QUALITY = 85
"""Quality of images that are saved as JPEG, 0 to 100; 90 takes a third more bytes."""
_FIGURE_DPI = 120
"""Pixels per inch of saved figures."""


def check_figure_path(figure_path: Path, *, is_image: bool = False) -> None:
    """Check that a figure, or an image without a figure around it, can be saved under this name.

    Args:
        figure_path: file to be written.
        is_image: whether it is for `save_image`.

    Raises:
        ConfigError: the suffix is not in `FIGURE_SUFFIXES` or `IMAGE_SUFFIXES`.
    """
    if is_image and figure_path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ConfigError("config.image_file", file=figure_path)
    if figure_path.suffix.lower() not in FIGURE_SUFFIXES:
        raise ConfigError("config.figure", file=figure_path)


def save_figure(figure: Figure, figure_path: Path) -> None:
    """Save a figure at 120 dpi, and create the folders above it.

    Args:
        figure: the figure.
        figure_path: its suffix chooses the format.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        figure_path.parent.mkdir(parents=True, exist_ok=True)
        if figure_path.suffix.lower() == ".png":
            _save_png(figure, figure_path)
        else:
            figure.savefig(figure_path, dpi=_FIGURE_DPI)
    except OSError as cause:
        raise ConfigError("config.out", file=figure_path, cause=cause.strerror or cause) from cause


def save_image(pixels: np.ndarray[Any, Any], image_path: Path) -> None:
    """Save an image without a figure around it, a JPEG with quality 85, and create the folders above it.

    Args:
        pixels: uint8 [H, W, 3] RGB.
        image_path: its suffix, one of `IMAGE_SUFFIXES`, chooses the format.

    Raises:
        ConfigError: the file cannot be written.
    """
    import cv2

    # OpenCV needs two thirds of Pillow's time for a JPEG, most of it for the conversion before.
    suffix = image_path.suffix.lower()
    # OpenCV prints a warning for a parameter of another format.
    parameters = [cv2.IMWRITE_PNG_COMPRESSION, 1] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, content = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), parameters)
    try:
        image_path.parent.mkdir(parents=True, exist_ok=True)
        image_path.write_bytes(content.tobytes())
    except OSError as cause:
        raise ConfigError("config.out", file=image_path, cause=cause.strerror or cause) from cause


def _save_png(figure: Figure, figure_path: Path) -> None:
    """Save a figure as PNG with the pixels of `savefig`, in half of its time.

    `savefig` draws twice, the first time only for the layout; and it compresses harder than figures with photographs
    repay.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(_FIGURE_DPI)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(figure_path, pil_kwargs={"compress_level": 1})
