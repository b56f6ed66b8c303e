"""The only door for pixels: a file or a stream in, upright RGB out, or a PictureError that names the file. No torch.

Training, evaluation and prediction all come through here, so that they see the same bits. What is let in is
narrow on purpose: seven formats, at most 50 megapixels (fewer where a format is slow), told from the header before
anything is decoded. Every failure of one file is that file's `PictureError`, whatever the decoder raised.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from ftlab.core.errors import PictureError
from ftlab.data.images.decode_limits import Metered, guard_tags, limit_passes
from ftlab.data.images.diagnosis import diagnose

guard_tags()

LIMIT_PIXELS = 50_000_000
"""Width × height above which a picture is refused; decoding one of this size takes about half a gigabyte."""

_SLOW = {"AVIF": 14_000_000, "WEBP": 25_000_000}
"""The same for formats that take so much more time and memory that one picture would hold up others."""

LIMIT_BYTES = 200_000_000
"""Size of a file above which it is refused: what stands beside the pixels, a PNG's texts, say, is read as a whole."""

LIMIT_ASPECT = 200
"""Long side over short side above which a picture is refused."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif")
)
"""Names that pictures of these formats carry, lower case. What a file is, its content decides."""

_DETAIL = 512
"""Pixels of the short side that decoding keeps in any case."""

_BAND = 4_000_000
"""Pixels that are converted at a time."""

Pixels = npt.NDArray[np.uint8]

_SIXTEEN_TO_EIGHT = ((np.arange(65536, dtype=np.uint32) * 2 + 257) // 514).astype(np.uint8)


def read(source: Path | str | BinaryIO, *, at_least: int = 512) -> Pixels:
    """The pixels of a picture, upright.

    EXIF orientation is applied; transparency lies on white; of an animation it is the first frame. 16-bit grey
    is divided by 257, so that black stays black and white white; of wider greys see `_levels`. Colour profiles
    are not applied.

    Args:
        source: a file's path, or a seekable stream read from its start.
        at_least: pixels. A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as its short side keeps
            at least that many; what is smaller stays as it is.

    Returns:
        uint8 [H, W, 3], RGB, a writable array of its own.

    Raises:
        PictureError: the file is missing, no picture, damaged, too large … (the codes below `problem` in the words).
    """
    with _opened(source) as image:
        side = max(1, at_least)
        image.draft("RGB", (side, side))
        image.load()
        method = _turns(image)
        return _rgb(image.transpose(method) if method is not None else image)


def detail(resize: int) -> int:
    """What `at_least` is of a picture whose short side is scaled to so many pixels."""
    return max(_DETAIL, resize)


def size(source: Path | str | BinaryIO) -> tuple[int, int]:
    """Width and height in pixels of the upright picture, from its header: a damaged body goes unseen.

    Raises:
        PictureError: as `read`, for what the header tells.
    """
    with _opened(source) as image:
        width, height = image.size
        # Pillow tells a TIFF's upright size itself; a PNG without EXIF in front it would decode whole to look for more.
        known = image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info)
        return (height, width) if not known and _swaps(_turns(image)) else (width, height)


def check(source: Path | str | BinaryIO) -> tuple[int, int]:
    """Width and height of the upright picture, after a cheap test that its whole body can be decoded.

    A JPEG is decoded at 1/8 of its size, which finds what is cut short at a fraction of the cost; `verify()` of
    Pillow does not find it.

    Raises:
        PictureError: as `read`.
    """
    with _opened(source) as image:
        width, height = image.size
        image.draft("RGB", (1, 1))
        image.load()
        return (height, width) if _swaps(_turns(image)) else (width, height)


@contextmanager
def _opened(source: Path | str | BinaryIO) -> Iterator[Image.Image]:
    """The picture with its header read and within the limits; whatever goes wrong inside becomes a PictureError."""
    _silence_pillow()
    path = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
    name = path if path is not None else str(getattr(source, "name", None) or "picture")
    stream: BinaryIO | None = None
    try:
        stream = _stream(source)
        with Image.open(cast(BinaryIO, Metered(stream, name)), formats=FORMATS) as image:
            _limit(image, name)
            if image.format in ("JPEG", "MPO"):
                limit_passes(stream, name, image.width * image.height)
            yield image
    except PictureError:
        raise
    # Decoders raise nearly anything: SyntaxError, struct.error, MemoryError … It is the file's fault, not ours.
    except Exception as cause:
        code, values = diagnose(cause, stream, LIMIT_PIXELS)
        raise PictureError(code, file=name, **values) from cause
    finally:
        if path is not None and stream is not None:
            stream.close()


def _stream(source: Path | str | BinaryIO) -> BinaryIO:
    if not isinstance(source, (str, os.PathLike)):
        return source
    facts = os.stat(source)
    # Opening a pipe or a device would wait for ever, or never end.
    if not stat.S_ISREG(facts.st_mode):
        raise UnidentifiedImageError
    if facts.st_size > LIMIT_BYTES:
        raise PictureError("too_many_bytes", file=os.fspath(source), limit=LIMIT_BYTES // 1_000_000)
    return open(source, "rb")


def limit_pixels(form: str) -> int:
    """Width × height above which a picture of a format, in Pillow's words, is refused."""
    return min(LIMIT_PIXELS, _SLOW.get(form, LIMIT_PIXELS))


def _limit(image: Image.Image, name: str) -> None:
    width, height = image.size
    limit = limit_pixels(image.format or "")
    if width * height > limit:
        raise PictureError("too_large", file=name, limit=limit // 1_000_000)
    if max(width, height) > LIMIT_ASPECT * min(width, height):
        raise PictureError("too_long", file=name, width=width, height=height, limit=LIMIT_ASPECT)


def _swaps(method: Image.Transpose | None) -> bool:
    """Whether it exchanges width and height."""
    return method in (
        Image.Transpose.TRANSPOSE,
        Image.Transpose.ROTATE_270,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_90,
    )


def _turns(image: Image.Image) -> Image.Transpose | None:
    """What makes a picture upright that was taken with the camera turned; None where nothing need be done."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    # A damaged note about the camera does not make the picture unreadable.
    except Exception:
        return None
    return _ORIENTATIONS.get(orientation)


_ORIENTATIONS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF 2.32, tag 0x0112."""


def _rgb(image: Image.Image) -> Pixels:
    """uint8 [H, W, 3] of an image in any of Pillow's modes.

    A large one goes through in bands of rows, so that no copy on the way is ever there whole.
    """
    width, height = image.size
    rows = max(1, _BAND // width)
    edges = [(top, min(top + rows, height)) for top in range(0, height, rows)]

    def band(top: int, bottom: int) -> Image.Image:
        return image if height <= rows else image.crop((0, top, width, bottom))

    black, span = 0.0, 1.0
    if image.mode in ("I", "F"):
        black, span = _levels([_extremes(_finite(band(*edge))) for edge in edges], image.mode)
    pixels = np.empty((height, width, 3), np.uint8)
    for top, bottom in edges:
        pixels[top:bottom] = _convert(band(top, bottom), black, span)
    return pixels


def _convert(image: Image.Image, black: float, span: float) -> Pixels:
    """uint8 [H, W, 3], or [H, W, 1] of grey; of wide grey, `black` becomes 0 and `black + span` 255."""
    if image.mode.startswith("I;16"):
        return _SIXTEEN_TO_EIGHT[np.asarray(image)][..., None]
    if image.mode in ("I", "F"):
        grey = (_finite(image) - np.float32(black)) * np.float32(255.0 / span)
        return np.clip(np.rint(grey), 0, 255).astype(np.uint8)[..., None]
    if image.has_transparency_data:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        opaque = Image.new("RGB", layer.size, "white")
        opaque.paste(layer, mask=layer.getchannel("A"))
        return np.asarray(opaque)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _finite(image: Image.Image) -> npt.NDArray[np.float32]:
    """float32 [H, W] of a mode I or F, with 0 for what is no number and a range that subtraction cannot leave."""
    values = np.asarray(image).astype(np.float32)
    return np.clip(np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0), -1e30, 1e30)


def _extremes(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _levels(extremes: list[tuple[float, float]], mode: str) -> tuple[float, float]:
    """Black, and how far it is to white, in grey kept as 32-bit integers (I) or floats (F), which does not say so.

    Floats in [0, 1] and numbers in [0, 255] or [0, 65535] are taken for what they seem; anything else is stretched
    from its least to its greatest value.
    """
    low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
    if low < 0 or high > 65535:
        return low, max(high - low, 1e-30)
    if mode == "F" and high <= 1:
        return 0.0, 1.0
    return 0.0, 255.0 if high <= 255 else 65535.0


def _silence_pillow() -> None:
    """Keep Pillow's warnings from the person (and, where warnings are errors, from refusing a good picture).

    A filter, because `warnings.catch_warnings` changes the state of all threads at once. It is put in front again
    whenever something else, a test for one, has put its own there.
    """
    first = warnings.filters[0] if warnings.filters else None
    if first is None or getattr(first[3], "pattern", None) != _FROM_PILLOW:
        warnings.filterwarnings("ignore", module=_FROM_PILLOW)


_FROM_PILLOW = r"PIL\."
