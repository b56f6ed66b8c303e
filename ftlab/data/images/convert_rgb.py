"""Convert a decoded image of any mode, or deep samples, to an 8-bit RGB array. No torch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from ftlab.data.images.decode_options import ValueRange
from ftlab.data.images.deep_samples import DeepSamples
from ftlab.data.images.value_range import UINT16_RANGE, is_measured, make_level_table, scale_to_levels

CONVERT_BAND_PIXELS = 4_000_000
"""Number of pixels that are converted to RGB at a time, to bound the memory of intermediate copies."""

# Division by 257 with rounding, in integers: 65535 becomes 255 exactly.
_UINT16_TO_UINT8 = ((np.arange(65536, dtype=np.uint32) * 2 + 257) // 514).astype(np.uint8)


def to_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return a decoded image of any Pillow mode as uint8 [H, W, 3] RGB.

    A large image is converted in bands of rows, so that no intermediate copy is ever as large as the image.
    """
    width, height = image.size
    band_rows = max(1, CONVERT_BAND_PIXELS // width)
    row_ranges = [(top, min(top + band_rows, height)) for top in range(0, height, band_rows)]

    def crop_band(top: int, bottom: int) -> Image.Image:
        """Return rows `top` to `bottom`; the image itself, without a copy, if one band is enough."""
        return image if height <= band_rows else image.crop((0, top, width, bottom))

    black_level, span = 0.0, 1.0
    # 32-bit gray has no fixed range, so the range of all bands is needed before the first one is converted.
    if image.mode in ("I", "F"):
        black_level, span = _find_gray_range(
            [_min_max(_replace_nonfinite(crop_band(*row_range))) for row_range in row_ranges], image.mode
        )
    pixels = np.empty((height, width, 3), np.uint8)
    for top, bottom in row_ranges:
        pixels[top:bottom] = _convert_band(crop_band(top, bottom), black_level, span)
    return pixels


def convert_deep(deep: DeepSamples, value_range: ValueRange) -> npt.NDArray[np.uint8]:
    """Return deep samples as uint8 [H, W, 3] RGB; transparent pixels are blended with white.

    Args:
        deep: samples of an image.
        value_range: values that become 0 and 255.
    """
    width, height = deep.size
    band_rows = max(1, CONVERT_BAND_PIXELS // width)
    row_ranges = [(top, min(top + band_rows, height)) for top in range(0, height, band_rows)]
    # Some programs scale alpha as the colors, others always to 16 bits.
    alpha_maxima = [int(alpha.max()) for rows in row_ranges if (alpha := deep.read_rows(*rows)[1]) is not None]
    alpha_range = UINT16_RANGE if max(alpha_maxima, default=0) > value_range.high else value_range
    # As Pillow decodes 16-bit color, which needs no range then.
    is_filled = deep.storage != "gray" and value_range == UINT16_RANGE
    pixels = np.empty((height, width, 3), np.uint8)
    for top, bottom in row_ranges:
        values, alpha = deep.read_rows(top, bottom)
        if is_filled:
            levels = (values >> 8).astype(np.uint8)
        elif deep.kind == "uint16":
            levels = make_level_table(value_range)[values]
        else:
            levels = scale_to_levels(values, value_range)
        if deep.white_is_zero:
            levels = 255 - levels
        if deep.declared.no_data is not None:
            levels = np.where(is_measured(values, deep.declared.no_data), levels, np.uint8(0))
        if alpha is not None:
            opacity = make_level_table(ValueRange(0.0, alpha_range.high))[alpha][..., None].astype(np.uint16)
            # Division by 255 with rounding, in integers.
            colors = levels if deep.is_premultiplied else (levels * opacity + 127) // 255
            levels = np.minimum(colors + (255 - opacity), 255).astype(np.uint8)
        pixels[top:bottom] = levels
    return pixels


def _convert_band(image: Image.Image, black_level: float, span: float) -> npt.NDArray[np.uint8]:
    """Convert a band of rows to 8 bits per channel.

    Args:
        image: rows of a decoded image.
        black_level: value of 32-bit gray that becomes 0.
        span: difference to the value that becomes 255.

    Returns:
        uint8 [H, W, 3], or [H, W, 1] for 16-bit and 32-bit gray.
    """
    if image.mode.startswith("I;16"):
        gray_8bit: npt.NDArray[np.uint8] = _UINT16_TO_UINT8[np.asarray(image)]
        return gray_8bit[..., None]
    if image.mode in ("I", "F"):
        gray = (_replace_nonfinite(image) - np.float32(black_level)) * np.float32(255.0 / span)
        scaled: npt.NDArray[np.float32] = np.clip(np.rint(gray), 0, 255)
        return scaled.astype(np.uint8)[..., None]
    # Pillow's own conversion to RGB would drop alpha and show what is below transparent pixels, often black.
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        opaque = Image.new("RGB", rgba.size, "white")
        opaque.paste(rgba, mask=rgba.getchannel("A"))
        return np.asarray(opaque)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _replace_nonfinite(image: Image.Image) -> npt.NDArray[np.float32]:
    """Return mode I or F as float32 [H, W], with 0 for NaN and infinity, clipped so that differences stay finite."""
    values = np.asarray(image).astype(np.float32)
    return np.clip(np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0), -1e30, 1e30)


def _min_max(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return the smallest and the largest value."""
    return float(values.min()), float(values.max())


def _find_gray_range(extremes: list[tuple[float, float]], mode: str) -> tuple[float, float]:
    """Guess black level and span of 32-bit gray, whose files do not state a range.

    Floats in [0, 1] and numbers in [0, 255] or [0, 65535] are taken to have that range; anything else is stretched
    from its smallest to its largest value.

    Args:
        extremes: smallest and largest value of each band.
        mode: Pillow's mode: I (integers) or F (floats).

    Returns:
        The value of black, and the difference between white and black.
    """
    low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
    if low < 0 or high > 65535:
        return low, max(high - low, 1e-30)
    if mode == "F" and high <= 1:
        return 0.0, 1.0
    return 0.0, 255.0 if high <= 255 else 65535.0
