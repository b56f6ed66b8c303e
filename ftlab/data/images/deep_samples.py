"""Samples of more than 8 bits, read through Pillow: 16-bit gray and color, 32-bit integers, floats. No torch.

Pillow has no mode for 16-bit color: it keeps the high byte of each sample. Decoded once more under the name of the
other byte order, the same file gives the low bytes, and both together are the samples.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from ftlab.data.images import declared_range
from ftlab.data.images.declared_range import DeclaredRange, get_tiff_tag
from ftlab.data.images.decode_options import SampleKind

_MAX_UINT8, _MAX_UINT16 = 255, 65535
_COLOR_LAYOUTS = ("RGB", "RGBA", "RGBX", "RGBa", "LA")
"""Layouts of 16-bit color whose range is looked at; CMYK is for printing and fills its 16 bits."""
_OTHER_BYTE_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_NATIVE_RAW_MODES = {"I;16BS": "I;16NS", "I;32B": "I;32N", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}
"""Raw modes that Pillow names for compressed files of the high byte first, and those of what libtiff returns."""
_PPM_DECODER = "ppm"
"""Pillow's decoder of PGM and PPM files whose largest value fills no whole number of bytes; it is slow."""
_PHOTOMETRIC_TAG, _WHITE_IS_ZERO = 262, 0
_SAMPLE_FORMAT_TAG, _UNSIGNED_INTEGERS = 339, 1

OpenImage = Callable[[], AbstractContextManager[Image.Image]]
"""Opens the same file once more, its orientation not applied."""
_Storage = Literal["gray", "color", "gray_alpha"]


@dataclass(frozen=True)
class DeepSamples:
    """Samples of a decoded image, and what its file says of them; rows are read when they are needed.

    Attributes:
        kind: of the samples.
        white_is_zero: the smallest value is white.
        is_premultiplied: the values were multiplied by alpha.
        declared: range that the file declares.
        images: decoded image, of 16-bit color that of the high bytes and that of the low bytes.
        storage: how the images hold the samples.
        is_unsigned: 32-bit integers have no sign.
        white_value: what a PGM or PPM declares as white: its samples are scaled to 16 bits.
    """

    kind: SampleKind
    white_is_zero: bool
    is_premultiplied: bool
    declared: DeclaredRange
    images: tuple[Image.Image, ...]
    storage: _Storage
    is_unsigned: bool = False
    white_value: int = _MAX_UINT16

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.images[0].size

    def read_rows(self, top: int, bottom: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint16] | None]:
        """Return the samples of some rows.

        Args:
            top: first row.
            bottom: row after the last one.

        Returns:
            Values, uint16 or float32 [h, W, C] with C = 1 (gray) or 3 (RGB), and alpha, uint16 [h, W], or None.
        """
        box = (0, top, self.size[0], bottom)
        bands = [np.asarray(image if box == (0, 0, *self.size) else image.crop(box)) for image in self.images]
        if self.storage == "gray_alpha":  # high and low byte of gray, high and low byte of alpha
            samples = _join_bytes(bands[0][..., 0::2], bands[0][..., 1::2])
            return samples[..., :1], samples[..., 1]
        if self.storage == "color":
            samples = self._scale_to_16_bits(_join_bytes(*bands))
            alpha = samples[..., 3] if samples.shape[2] == 4 else self._find_transparent(samples)
            return samples[..., :3], alpha
        if self.kind == "uint16":
            gray = self._scale_to_16_bits(bands[0].astype(np.uint16, copy=False)[..., None])  # of either byte order
            return gray, self._find_transparent(gray)
        values = bands[0].view(np.uint32) if self.is_unsigned else bands[0]
        return values.astype(np.float32)[..., None], None

    def _scale_to_16_bits(self, samples: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
        """Return samples scaled so that the white value becomes 65535, uint16 [h, W, C]."""
        if self.white_value == _MAX_UINT16:
            return samples
        levels = np.rint(samples * np.float64(_MAX_UINT16 / self.white_value)).clip(max=_MAX_UINT16)
        return levels.astype(np.uint16)

    def _find_transparent(self, samples: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16] | None:
        """Return alpha of the color that a PNG declares to be transparent, uint16 [h, W]; None if it declares none."""
        key = self.images[0].info.get("transparency")
        if key is None:
            return None
        return np.where((samples == np.asarray(key, np.uint16)).all(axis=2), 0, 65535).astype(np.uint16)


def find_sample_kind(image: Image.Image) -> SampleKind | None:
    """Return the kind of the deep samples of an opened image, by its header; None if it has at most 8 bits."""
    # Pillow gives a PGM of more than 8 bits in 32.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return "uint16"
    if image.mode in ("I", "F"):
        return "int32" if image.mode == "I" else "float32"
    layout, _, depth = _get_raw_mode(image).partition(";")
    is_planar = layout == "R" and get_tiff_tag(image, declared_range.BITS_PER_SAMPLE_TAG, (8,))[0] == 16
    is_deep_ppm = _get_white_value(image) > _MAX_UINT8
    return "uint16" if is_planar or is_deep_ppm or (layout in _COLOR_LAYOUTS and depth.startswith("16")) else None


def is_color(image: Image.Image) -> bool:
    """Return whether an opened deep image is color, or gray with alpha, of which Pillow decodes the high bytes."""
    return not image.mode.startswith(("I", "F"))


def decodes_high_bytes(image: Image.Image) -> bool:
    """Return whether Pillow alone decodes the high bytes of an opened deep image, as it does of interleaved color."""
    return is_color(image) and len(_get_raw_mode(image)) > 1 and not _get_white_value(image)


def use_fast_decoder(image: Image.Image) -> int:
    """Let an opened PGM or PPM be decoded as it is stored, instead of sample by sample in Python.

    Args:
        image: opened, not decoded yet.

    Returns:
        The value that is white in the decoded samples: what the file declares.
    """
    white_value = _get_white_value(image)
    if not white_value:
        return _MAX_UINT16
    assert isinstance(image, ImageFile.ImageFile)
    raw_mode = image.mode if white_value <= _MAX_UINT8 else {"RGB": "RGB;16B", "I": "I;16B"}[image.mode]
    image.tile = [tile._replace(codec_name="raw", args=(raw_mode, 0, 1)) for tile in image.tile]
    return white_value


def load_shallow(image: Image.Image) -> Image.Image:
    """Return an opened image of at most 8 bits, decoded; a PGM or PPM is scaled to the white that it declares."""
    white_value = use_fast_decoder(image)
    image.load()
    if white_value >= _MAX_UINT8:
        return image
    levels = [min(_MAX_UINT8, round(value / white_value * _MAX_UINT8)) for value in range(_MAX_UINT8 + 1)]
    return image.point(levels * len(image.getbands()))


def load_samples(
    image: Image.Image, reopen: OpenImage, make_upright: Callable[[Image.Image], Image.Image]
) -> DeepSamples:
    """Decode an opened deep image.

    Args:
        image: opened, not decoded yet.
        reopen: opens its file once more.
        make_upright: applies the orientation to a decoded image.

    Returns:
        The samples.
    """
    kind = find_sample_kind(image)
    assert kind
    raw_mode = _get_raw_mode(image)
    layout = raw_mode.partition(";")[0]
    samples = DeepSamples(
        kind,
        white_is_zero=get_tiff_tag(image, _PHOTOMETRIC_TAG, None) == _WHITE_IS_ZERO,
        is_premultiplied=layout == "RGBa",
        declared=declared_range.read_declared_range(image),
        images=(),
        storage=("gray_alpha" if layout == "LA" else "color") if is_color(image) else "gray",
        is_unsigned=kind == "int32" and get_tiff_tag(image, _SAMPLE_FORMAT_TAG, (1,))[0] == _UNSIGNED_INTEGERS,
        white_value=use_fast_decoder(image),
    )
    _choose_raw_modes(image, samples.storage)
    image.load()
    images = [make_upright(image)]
    if samples.storage == "color":
        with reopen() as low_image:
            use_fast_decoder(low_image)
            _choose_raw_modes(low_image, samples.storage, low_bytes=True)
            low_image.load()
            images.append(make_upright(low_image))
    return replace(samples, images=tuple(images))


def _join_bytes(high: npt.NDArray[np.uint8], low: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """Return 16-bit samples of their high and low bytes, arrays of the same shape."""
    samples = high.astype(np.uint16)
    samples <<= 8
    samples |= low
    return samples


def _get_white_value(image: Image.Image) -> int:
    """Return the largest value that an opened PGM or PPM declares, if Pillow would scale each sample by it; else 0."""
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    is_scaled = bool(tiles) and tiles[0].codec_name == _PPM_DECODER
    return int(cast(Any, tiles[0].args)[1]) if is_scaled else 0


def _get_raw_mode(image: Image.Image) -> str:
    """Return Pillow's name of how an opened image stores its samples; empty if it has none."""
    return _get_tile_raw_mode(image.tile[0]) if isinstance(image, ImageFile.ImageFile) and image.tile else ""


def _get_tile_raw_mode(tile: ImageFile._Tile) -> str:
    """Return Pillow's name of how a part of an image stores its samples."""
    raw_mode = tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args
    return raw_mode if isinstance(raw_mode, str) else ""


def _choose_raw_modes(image: Image.Image, storage: _Storage, *, low_bytes: bool = False) -> None:
    """Choose the bytes of an opened image that Pillow decodes, by the names of its raw modes.

    Args:
        image: opened, not decoded yet.
        storage: how the decoded image is to hold the samples.
        low_bytes: the low bytes of 16-bit color instead of the high ones.
    """
    assert isinstance(image, ImageFile.ImageFile)
    tiles = []
    for tile in image.tile:
        raw_mode = _get_tile_raw_mode(tile)
        if storage == "gray_alpha":
            raw_mode = "RGBA"
        elif storage == "color":
            # A plane of its own is named by its letter alone, as if it had 8 bits.
            if len(raw_mode) == 1:
                raw_mode += ";16L" if cast(TiffImageFile, image).tag_v2.prefix == b"II" else ";16B"
            raw_mode = raw_mode.replace("RGBa", "RGBA")
            if low_bytes:
                raw_mode = raw_mode[:-1] + _OTHER_BYTE_ORDER[raw_mode[-1]]
        elif tile.codec_name == "libtiff":
            raw_mode = _NATIVE_RAW_MODES.get(raw_mode, raw_mode)
        tiles.append(tile._replace(args=(raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode))
    image.tile = tiles
