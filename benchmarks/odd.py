"""Odd pictures, made on the spot: good ones with the pixels they must give, bad ones with what is wrong with them."""

from __future__ import annotations

import io
import random
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
    """A picture that must be read.

    Attributes:
        kind: what is odd about it.
        content: of the file.
        pixels: uint8 [H, W, 3] that it must give.
        tolerance: greatest mean difference of a pixel's value, 0 for a lossless format.
    """

    kind: str
    content: bytes
    pixels: Pixels
    tolerance: float = 0.0


@dataclass(frozen=True)
class InvalidImage:
    """A file that must be refused.

    Attributes:
        kind: what it is.
        content: of the file.
        code: of the problem that names it.
    """

    kind: str
    content: bytes
    code: str


def encode_image(image: Image.Image, image_format: str, **options: object) -> bytes:
    """The file of a picture."""
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def draw_scenery(width: int = 96, height: int = 64) -> Pixels:
    """uint8 [height, width, 3] with no two rows or columns alike, smooth enough for lossy formats."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1).astype(np.uint8)


def draw_noise(width: int, height: int) -> Image.Image:
    """What costs decoders most."""
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def make_png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file (ISO/IEC 15948, 5.3)."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def make_png(width: int, height: int, body: bytes, *, depth: int = 8, colour: int = 2, extra: bytes = b"") -> bytes:
    """A PNG file of these bytes, as they are in IDAT; `extra` chunks stand before it."""
    header = make_png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + make_png_chunk(b"IDAT", body) + make_png_chunk(b"IEND", b"")


def make_valid_images() -> Iterator[ValidImage]:
    """Every odd kind that is read, the eight EXIF orientations among them."""
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
    exif = make_overlapping_tags(1000, 200_000, is_image=False)
    yield ValidImage("PNG whose EXIF tags share their bytes", encode_image(image, "PNG", exif=exif), scene)
    yield ValidImage(
        "WEBP whose EXIF tags share their bytes", encode_image(image, "WEBP", lossless=True, exif=exif), scene
    )
    yield ValidImage("JPEG whose EXIF tags share their bytes", _split_exif(image, exif), scene, 3)
    yield ValidImage(
        "TIFF, 32-bit float grey", encode_image(Image.fromarray(np.asarray(grey).astype(np.float32)), "TIFF"), greys
    )


def _make_oriented(scene: Pixels) -> Iterator[ValidImage]:
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
        exif[0x0112] = orientation
        image = Image.fromarray(np.ascontiguousarray(pixels))
        yield ValidImage(
            f"JPEG, EXIF orientations {orientation}", encode_image(image, "JPEG", quality=95, exif=exif), scene, 3
        )
        yield ValidImage(f"TIFF, EXIF orientations {orientation}", encode_image(image, "TIFF", exif=exif), scene)


def _split_exif(image: Image.Image, exif: bytes) -> bytes:
    """A JPEG without JFIF, in which Pillow looks for EXIF at once, and joins its pieces."""
    content = encode_image(image, "JPEG", quality=95)
    pieces = [b"Exif\0\0" + exif[start : start + 65_000] for start in range(0, len(exif), 65_000)]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(piece) + 2) + piece for piece in pieces)
    return content[:2] + segments + content[20:]


def _make_transparent(image: Image.Image, scene: Pixels) -> Iterator[ValidImage]:
    """On the left half nothing is to be seen: it is white."""
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
    keyed = scene.copy()
    keyed[(scene == scene[-1, -1]).all(-1)] = 255
    yield ValidImage("PNG, transparent colour", encode_image(image, "PNG", transparency=key), keyed)


def make_invalid_images() -> Iterator[InvalidImage]:
    """Every odd kind that is refused."""
    image = draw_noise(160, 120)
    yield InvalidImage("empty", b"", "empty")
    yield InvalidImage("zeros", bytes(5000), "not_a_picture")
    yield InvalidImage("text", b"dear diary, no picture today", "not_a_picture")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\nshowpage\n"
    yield InvalidImage("EPS called .jpg", eps, "format")
    yield InvalidImage("EPS with preview called .jpg", b"\xc5\xd0\xd3\xc6" + bytes(26) + eps, "format")
    yield InvalidImage(
        "SVG called .jpg", b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "format"
    )
    yield InvalidImage("HTML called .jpg", b"\n<!DOCTYPE html>\n<html><head><title>404", "web_page")
    yield InvalidImage("HTML without its head called .jpg", b"<head><title>Moved</title></head>", "web_page")
    yield InvalidImage("HEIC called .jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "format")
    yield InvalidImage("PDF called .jpg", b"%PDF-1.7\n", "format")
    yield InvalidImage("video called .jpg", b"\0\0\0\x18ftypisom\0\0\0\0", "not_a_picture")
    for image_format in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"):
        content = encode_image(image, image_format)
        code = "unreadable" if image_format in ("WEBP", "AVIF") else "truncated"
        yield InvalidImage(f"{image_format}, cut in half", content[: len(content) // 2], code)
    content = encode_image(image, "JPEG")
    yield InvalidImage("JPEG, zeroed head", bytes(64) + content[64:], "not_a_picture")
    for size in ((60_000, 60_000), (65_535, 65_535), (2**31 - 1, 2**31 - 1)):
        yield InvalidImage(f"PNG that claims {size[0]} × {size[1]}", make_png(*size, zlib.compress(b"")), "too_large")
    yield InvalidImage(
        "GIF that claims 60000 × 60000",
        _claim_size(encode_image(image.convert("P"), "GIF"), 6, "<HH", 60_000),
        "too_large",
    )
    yield InvalidImage(
        "BMP that claims 60000 × 60000", _claim_size(encode_image(image, "BMP"), 18, "<ii", 60_000), "too_large"
    )
    yield InvalidImage("TIFF that claims 60000 × 60000", _make_tiff(60_000, 60_000, 64), "too_large")
    yield InvalidImage(
        "JPEG that claims 65500 × 65500", _claim_jpeg_size(encode_image(image, "JPEG"), 65_500, 65_500), "too_large"
    )
    yield InvalidImage(
        "WEBP that claims 16383 × 16383", _claim_webp_size(encode_image(image, "WEBP"), 16_383, 16_383), "too_large"
    )
    yield InvalidImage("JPEG of 65500 × 20", encode_image(Image.new("RGB", (65_500, 20)), "JPEG"), "too_long")
    yield InvalidImage("TIFF whose strip is said to have 4 GB", _make_tiff(6000, 6000, 2**32 - 1), "truncated")
    row = b"".join(b"\0" + bytes(range(16)) * 3 for _ in range(16))
    bomb = zlib.compress(bytes(100_000_000), 9)
    for kind, chunk_head in {"zTXt": b"k\0\0", "iTXt": b"k\0\1\0\0\0", "iCCP": b"k\0\0"}.items():
        extra = make_png_chunk(kind.encode(), chunk_head + bomb)
        yield InvalidImage(
            f"PNG whose {kind} grows to 100 MB", make_png(16, 16, zlib.compress(row), extra=extra), "unreadable"
        )

    yield from make_decompression_bombs(4_000_000)


def make_decompression_bombs(size: int) -> Iterator[InvalidImage]:
    """Files of about so many bytes, in pieces that cost far more time than they have bytes."""
    image = draw_noise(32, 32)
    content = encode_image(image, "PNG")
    yield InvalidImage(
        "PNG of empty chunks", content[:33] + make_png_chunk(b"teST", b"") * (size // 12) + content[33:], "tangled"
    )
    text = make_png_chunk(b"iTXt", b"k\0\0\0\0\0" + bytes(5 * size))
    yield InvalidImage("PNG of one long text", content[:33] + text + content[33:], "tangled")
    content = encode_image(image, "JPEG")
    yield InvalidImage("JPEG of empty segments", content[:2] + b"\xff\xe5\0\2" * (size // 4) + content[2:], "tangled")
    yield InvalidImage("JPEG of fill bytes", content[:2] + b"\xff" * size + content[2:], "tangled")
    content = encode_image(image.convert("P"), "GIF")
    head = 13 + 768  # with the palette
    yield InvalidImage("GIF of comments", content[:head] + b"!\xfe\1x\0" * (size // 5) + content[head:], "tangled")
    text = (b"\xff" + bytes(255)) * (size // 256)
    yield InvalidImage("GIF of one long comment", content[:head] + b"!\xfe" + text + b"\0" + content[head:], "tangled")
    yield InvalidImage("TIFF of a million strips", _make_striped_tiff(1_000_000), "tangled")
    yield InvalidImage(
        "TIFF whose tags share their bytes", make_overlapping_tags(2000, 1_000_000, is_image=True), "tangled"
    )
    content = encode_image(Image.new("L", (4000, 4000), 130), "JPEG", progressive=True)
    last_scan = content[content.rindex(b"\xff\xda") : -2]
    yield InvalidImage("JPEG of 1000 empty passes", content[:-2] + last_scan * 1000 + b"\xff\xd9", "tangled")


def _claim_size(content: bytes, offset: int, struct_format: str, side: int) -> bytes:
    """The file with another width and height in its header."""
    data = bytearray(content)
    struct.pack_into(struct_format, data, offset, side, side)
    return bytes(data)


def _claim_jpeg_size(content: bytes, width: int, height: int) -> bytes:
    data = bytearray(content)
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    return bytes(data)


def _claim_webp_size(content: bytes, width: int, height: int) -> bytes:
    data = bytearray(content)
    struct.pack_into("<HH", data, data.index(b"\x9d\x01\x2a") + 3, width, height)
    return bytes(data)


def _make_tiff(width: int, height: int, strip: int) -> bytes:
    """A TIFF 6.0 of one strip that is said to have so many bytes."""
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: strip}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 16) + bytes(8) + struct.pack("<H", len(tags)) + entries + bytes(4)


def _make_striped_tiff(strip_count: int) -> bytes:
    tags = {256: (1, 32), 257: (1, 32), 258: (1, 8), 259: (1, 1), 262: (1, 1), 277: (1, 1), 278: (1, 1)}
    tags |= {273: (strip_count, 200), 279: (strip_count, 200)}
    entries = b"".join(struct.pack("<HHII", tag, 4, *value) for tag, value in sorted(tags.items()))
    start = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries
    return start.ljust(200, b"\0") + struct.pack("<I", 200) * strip_count


def make_overlapping_tags(tag_count: int, size: int, *, is_image: bool) -> bytes:
    """A TIFF, or EXIF where it is no picture, of so many tags, each of which holds the same `size` bytes."""
    image_tags = {256: 32, 257: 32, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 32, 279: 1024} if is_image else {}
    tags = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in image_tags.items()]
    tags += [struct.pack("<HHII", 40_000 + index, 1, size, 100) for index in range(tag_count)]
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(tags) + bytes(4) + bytes(size)


def make_damaged_images(seed: int, per_format: int) -> Iterator[tuple[str, bytes]]:
    """(format, file) of pictures cut, with bits flipped, ranges zeroed or repeated; `per_format` of every format."""
    rng = random.Random(seed)
    image = Image.fromarray(draw_scenery())
    encoded_images: dict[str, bytes] = {
        image_format: encode_image(image, image_format)
        for image_format in ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF")
    }
    encoded_images["JPEG, progressive"] = encode_image(image, "JPEG", progressive=True)
    encoded_images["PNG, palette"] = encode_image(image.quantize(32), "PNG", transparency=1)
    encoded_images["TIFF, LZW"] = encode_image(image, "TIFF", compression="tiff_lzw")
    for image_format, content in encoded_images.items():
        for _ in range(per_format):
            yield image_format, _mutate_bytes(bytearray(content), rng)


def _mutate_bytes(data: bytearray, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    match rng.randrange(5):
        case 0:
            del data[start:]
        case 1:
            for _ in range(rng.randrange(1, 20)):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 2:
            data[start : start + 200] = bytes(len(data[start : start + 200]))
        case 3:
            for _ in range(3):
                data[rng.randrange(min(len(data), 120))] = rng.randrange(256)
        case 4:
            data[start:start] = data[start : start + rng.randrange(1, 400)]
    return bytes(data)
