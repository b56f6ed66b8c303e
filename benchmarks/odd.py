"""Odd image files, made on the spot: valid ones with the pixels they must decode to. `odd_invalid` has the others."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ValidImage:
    """A file that must be decoded.

    Attributes:
        kind: what is odd about it.
        content: bytes of the file.
        pixels: uint8 [H, W, 3] that it must decode to.
        tolerance: largest mean difference of a pixel's value; 0 for a lossless format.
    """

    kind: str
    content: bytes
    pixels: Pixels
    tolerance: float = 0.0


def encode_image(image: Image.Image, image_format: str, **options: object) -> bytes:
    """Return the file of an image.

    Args:
        image: image to encode.
        image_format: name of Pillow's encoder.
        options: options of the encoder.
    """
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def draw_scenery(width: int = 96, height: int = 64) -> Pixels:
    """Return uint8 [height, width, 3] with no two rows or columns alike, smooth enough for lossy formats."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1).astype(np.uint8)


def draw_noise(width: int, height: int) -> Image.Image:
    """Return an image of noise, the most expensive content for decoders."""
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def make_png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file (ISO/IEC 15948, 5.3)."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def make_png(width: int, height: int, body: bytes, *, depth: int = 8, colour: int = 2, extra: bytes = b"") -> bytes:
    """Return a PNG file.

    Args:
        width: claimed by the header.
        height: claimed by the header.
        body: content of the IDAT chunk.
        depth: bits per sample.
        colour: color type (ISO/IEC 15948, 11.2.2).
        extra: chunks before IDAT.
    """
    header = make_png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + make_png_chunk(b"IDAT", body) + make_png_chunk(b"IEND", b"")


def make_valid_images() -> Iterator[ValidImage]:
    """Yield every odd kind that is decoded, the eight EXIF orientations among them."""
    scene = draw_scenery()
    image = Image.fromarray(scene)
    grey = image.convert("L")
    greys = np.repeat(np.asarray(grey)[..., None], 3, -1)
    yield ValidImage("JPEG", encode_image(image, "JPEG", quality=95), scene, 3)
    yield ValidImage("JPEG, progressive", encode_image(image, "JPEG", quality=95, progressive=True), scene, 3)
    yield ValidImage("JPEG, grey", encode_image(grey, "JPEG", quality=95), greys, 3)
    yield ValidImage("JPEG, CMYK", encode_image(image.convert("CMYK"), "JPEG", quality=95), scene, 4)
    yield ValidImage(
        "MPO, two pictures", encode_image(image, "MPO", save_all=True, append_images=[grey.convert("RGB")]), scene, 6
    )
    yield from _make_oriented(scene)
    yield ValidImage("PNG", encode_image(image, "PNG"), scene)
    yield ValidImage(
        "PNG, 16-bit RGB", cv2.imencode(".png", scene[..., ::-1].astype(np.uint16) * 257)[1].tobytes(), scene
    )
    yield ValidImage(
        "PNG, 16-bit grey", encode_image(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG"), greys
    )
    yield from _make_transparent(image, scene)
    palette = image.quantize(64)
    yield ValidImage("PNG, palette", encode_image(palette, "PNG"), np.asarray(palette.convert("RGB")))
    black_white = image.convert("1")
    yield ValidImage("PNG, 1-bit", encode_image(black_white, "PNG"), np.asarray(black_white.convert("RGB")))
    extra_frames = [Image.new("RGB", image.size, "red")] * 3
    yield ValidImage("PNG, animated", encode_image(image, "PNG", save_all=True, append_images=extra_frames), scene)
    yield ValidImage(
        "GIF, animated",
        encode_image(palette, "GIF", save_all=True, append_images=extra_frames),
        np.asarray(palette.convert("RGB")),
    )
    yield ValidImage("WEBP", encode_image(image, "WEBP", quality=95), scene, 4)
    yield ValidImage("WEBP, lossless", encode_image(image, "WEBP", lossless=True), scene)
    yield ValidImage(
        "WEBP, animated", encode_image(image, "WEBP", lossless=True, save_all=True, append_images=extra_frames), scene
    )
    yield ValidImage("AVIF", encode_image(image, "AVIF", quality=95), scene, 4)
    yield ValidImage("BMP", encode_image(image, "BMP"), scene)
    yield ValidImage("TIFF", encode_image(image, "TIFF"), scene)
    yield ValidImage("TIFF, LZW", encode_image(image, "TIFF", compression="tiff_lzw"), scene)
    yield ValidImage(
        "TIFF, several pages", encode_image(image, "TIFF", save_all=True, append_images=extra_frames), scene
    )
    yield ValidImage(
        "TIFF, 16-bit RGB", cv2.imencode(".tiff", scene[..., ::-1].astype(np.uint16) * 257)[1].tobytes(), scene
    )
    yield ValidImage(
        "TIFF, 16-bit grey", encode_image(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "TIFF"), greys
    )
    yield ValidImage("TIFF, CMYK", encode_image(image.convert("CMYK"), "TIFF"), scene, 1)
    yield from _make_overlapping_exif(image, scene)
    yield ValidImage(
        "TIFF, 32-bit float grey", encode_image(Image.fromarray(np.asarray(grey).astype(np.float32)), "TIFF"), greys
    )


def _make_overlapping_exif(image: Image.Image, scene: Pixels) -> Iterator[ValidImage]:
    """Yield images whose EXIF tags share their bytes: 200 MB if each tag were read."""
    exif = make_overlapping_tags(1000, 200_000, is_image=False)
    yield ValidImage("PNG whose EXIF tags share their bytes", encode_image(image, "PNG", exif=exif), scene)
    yield ValidImage(
        "WEBP whose EXIF tags share their bytes", encode_image(image, "WEBP", lossless=True, exif=exif), scene
    )
    yield ValidImage("JPEG whose EXIF tags share their bytes", _split_exif(image, exif), scene, 3)


def _make_oriented(scene: Pixels) -> Iterator[ValidImage]:
    """Yield the scene stored in each of the eight EXIF orientations."""
    variants = {
        1: scene,
        2: scene[:, ::-1],
        3: scene[::-1, ::-1],
        4: scene[::-1],
        5: scene.swapaxes(0, 1),
        6: np.rot90(scene, 1),
        7: scene[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(scene, -1),
    }
    for orientation, pixels in variants.items():
        exif = Image.Exif()
        # The tag Orientation (TIFF 6.0, EXIF 2.3).
        exif[0x0112] = orientation
        image = Image.fromarray(np.ascontiguousarray(pixels))
        yield ValidImage(
            f"JPEG, EXIF orientations {orientation}", encode_image(image, "JPEG", quality=95, exif=exif), scene, 3
        )
        yield ValidImage(f"TIFF, EXIF orientations {orientation}", encode_image(image, "TIFF", exif=exif), scene)


def _split_exif(image: Image.Image, exif: bytes) -> bytes:
    """Return a JPEG without JFIF, in which Pillow looks for EXIF at once and joins its pieces."""
    content = encode_image(image, "JPEG", quality=95)
    pieces = [b"Exif\0\0" + exif[start : start + 65_000] for start in range(0, len(exif), 65_000)]
    # A segment's length has 16 bits, so that long EXIF data is split over several.
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(piece) + 2) + piece for piece in pieces)
    # Without the JFIF segment, bytes 2 to 20.
    return content[:2] + segments + content[20:]


def _make_transparent(image: Image.Image, scene: Pixels) -> Iterator[ValidImage]:
    """Yield images whose left half is transparent, which decodes to white."""
    alpha = Image.new("L", image.size, 0)
    alpha.paste(255, (image.width // 2, 0, *image.size))
    layer = image.copy()
    layer.putalpha(alpha)
    halved = scene.copy()
    halved[:, : image.width // 2] = 255
    yield ValidImage("PNG, alpha", encode_image(layer, "PNG"), halved)
    yield ValidImage("WEBP, alpha", encode_image(layer, "WEBP", lossless=True, exact=True), halved)
    grey = image.convert("L")
    grey_alpha = Image.merge("LA", (grey, alpha))
    greys = np.repeat(np.asarray(grey)[..., None], 3, -1).copy()
    greys[:, : image.width // 2] = 255
    yield ValidImage("PNG, grey and alpha", encode_image(grey_alpha, "PNG"), greys)
    key = tuple(int(value) for value in scene[-1, -1])
    # Pixels of one color are declared transparent.
    keyed = scene.copy()
    keyed[(scene == scene[-1, -1]).all(-1)] = 255
    yield ValidImage("PNG, transparent colour", encode_image(image, "PNG", transparency=key), keyed)


def make_overlapping_tags(tag_count: int, size: int, *, is_image: bool) -> bytes:
    """Return a TIFF, or EXIF data if `is_image` is false, whose tags all share the same bytes.

    Args:
        tag_count: number of tags.
        size: bytes that each tag refers to.
        is_image: whether to add the tags of an image.
    """
    image_tags = {256: 32, 257: 32, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 32, 279: 1024} if is_image else {}
    tags = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in image_tags.items()]
    tags += [struct.pack("<HHII", 40_000 + index, 1, size, 100) for index in range(tag_count)]
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(tags) + bytes(4) + bytes(size)
