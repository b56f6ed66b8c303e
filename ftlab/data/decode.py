"""The only door for pixels: a file or a stream in, upright RGB out, or a PictureError that names the file. No torch.

Training, evaluation and prediction all come through here, so that they see the same bits. What is let in is
narrow on purpose: seven formats, at most 50 megapixels, told from the header before anything is decoded.
Every failure of one file is that file's `PictureError`, whatever the decoder raised.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from ftlab.errors import PictureError

LIMIT_PIXELS = 50_000_000
"""Width × height above which a picture is refused; decoding one of this size takes about half a gigabyte."""

LIMIT_ASPECT = 200
"""Long side over short side above which a picture is refused."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif")
)
"""Names that pictures of these formats carry, lower case. What a file is, its content decides."""

FOREIGN = {
    ".heic": "HEIC",
    ".heif": "HEIC",
    ".jp2": "JPEG 2000",
    ".jxl": "JPEG XL",
    ".psd": "Photoshop",
    ".svg": "SVG",
    ".ico": "icon",
    ".tga": "TGA",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".dng": "camera raw",
    ".nef": "camera raw",
    ".cr2": "camera raw",
    ".arw": "camera raw",
}
"""Names that pictures of other formats carry, and what people call the format."""

Pixels = npt.NDArray[np.uint8]

_OWN_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8", b"II*\0", b"MM\0*")
_FOREIGN_STARTS = (
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"\0\0\x01\0", "icon"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
    (b"PK\x03\x04", "ZIP"),
)
_SIXTEEN_TO_EIGHT = ((np.arange(65536, dtype=np.uint32) * 2 + 257) // 514).astype(np.uint8)


def read(source: Path | str | BinaryIO, *, at_least: int = 512) -> Pixels:
    """The pixels of a picture, upright.

    EXIF orientation is applied; transparency lies on white; of an animation it is the first frame. 16-bit grey
    is divided by 257, so that black stays black and white white; other wide greys see `_wide`. Colour profiles
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
        with Image.open(stream, formats=FORMATS) as image:
            _limit(image, name)
            yield image
    except PictureError:
        raise
    # Decoders raise nearly anything: SyntaxError, struct.error, MemoryError … It is the file's fault, not ours.
    except Exception as cause:
        code, values = _diagnose(cause, stream)
        raise PictureError(code, file=name, **values) from cause
    finally:
        if path is not None and stream is not None:
            stream.close()


def _stream(source: Path | str | BinaryIO) -> BinaryIO:
    if not isinstance(source, (str, os.PathLike)):
        return source
    # Opening a pipe or a device would wait for ever, or never end.
    if not stat.S_ISREG(os.stat(source).st_mode):
        raise UnidentifiedImageError
    return open(source, "rb")


def _limit(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > LIMIT_PIXELS:
        raise PictureError("too_large", file=name, limit=LIMIT_PIXELS // 1_000_000)
    if max(width, height) > LIMIT_ASPECT * min(width, height):
        raise PictureError("too_long", file=name, width=width, height=height, limit=LIMIT_ASPECT)


def _diagnose(cause: Exception, stream: BinaryIO | None) -> tuple[str, dict[str, str | int]]:
    """The code and values that say what was wrong with a file, from the exception and the file's first bytes."""
    if isinstance(cause, FileNotFoundError):
        return "missing", {}
    if isinstance(cause, PermissionError):
        return "permission", {}
    if isinstance(cause, MemoryError):
        return "memory", {}
    if isinstance(cause, Image.DecompressionBombError):
        return "too_large", {"limit": LIMIT_PIXELS // 1_000_000}
    if isinstance(cause, UnidentifiedImageError):
        return _name_content(stream)
    return ("truncated" if isinstance(cause, EOFError) or "truncated" in str(cause).lower() else "unreadable"), {}


def _name_content(stream: BinaryIO | None) -> tuple[str, dict[str, str | int]]:
    """What a file is that does not open as a picture."""
    try:
        head = b""
        if stream is not None:
            stream.seek(0)
            head = stream.read(256)
            if not head:
                return "empty", {}
    except (OSError, ValueError):
        return "unreadable", {}
    if head.startswith(_OWN_STARTS) or head[8:12] == b"WEBP" or head[4:12] == b"ftypavif":
        return "unreadable", {}
    if head[4:8] == b"ftyp":
        heic = head[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
        return ("format", {"kind": "HEIC"}) if heic else ("not_a_picture", {})
    for start, kind in _FOREIGN_STARTS:
        if head.startswith(start):
            return "format", {"kind": kind}
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "web_page", {}
    return "not_a_picture", {}


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
    """uint8 [H, W, 3] of an image in any of Pillow's modes."""
    if image.mode.startswith("I;16"):
        return _grey(_SIXTEEN_TO_EIGHT[np.asarray(image)])
    if image.mode in ("I", "F"):
        return _grey(_wide(np.asarray(image)))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGB", layer.size, "white")
        white.paste(layer, mask=layer.getchannel("A"))
        return np.array(white)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _grey(values: Pixels) -> Pixels:
    return np.repeat(values[..., None], 3, axis=2)


def _wide(values: npt.NDArray[np.generic]) -> Pixels:
    """uint8 [H, W] of grey kept in 32-bit integers or floats [H, W].

    Such files do not say what is white. Floats in [0, 1] and integers in [0, 255] or [0, 65535] are taken for what
    they seem; anything else is stretched from its least to its greatest value. What is not finite is black.
    """
    grey = np.clip(np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0), -1e30, 1e30)
    low, high = float(grey.min()), float(grey.max())
    if low < 0 or high > 65535:
        grey -= np.float32(low)
        white = max(high - low, 1e-30)
    elif values.dtype.kind == "f" and high <= 1:
        white = 1.0
    else:
        white = 255.0 if high <= 255 else 65535.0
    grey *= np.float32(255.0 / white)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def _silence_pillow() -> None:
    """Keep Pillow's warnings from the person (and, where warnings are errors, from refusing a good picture).

    A filter, because `warnings.catch_warnings` changes the state of all threads at once. It is put in front again
    whenever something else, a test for one, has put its own there.
    """
    first = warnings.filters[0] if warnings.filters else None
    if first is None or getattr(first[3], "pattern", None) != _FROM_PILLOW:
        warnings.filterwarnings("ignore", module=_FROM_PILLOW)


_FROM_PILLOW = r"PIL\."
