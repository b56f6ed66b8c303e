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
class Good:
    """A picture that must be read.

    Attributes:
        kind: what is odd about it.
        content: of the file.
        pixels: uint8 [H, W, 3] that it must give.
        within: greatest mean difference of a pixel's value, 0 for a lossless format.
    """

    kind: str
    content: bytes
    pixels: Pixels
    within: float = 0.0


@dataclass(frozen=True)
class Bad:
    """A file that must be refused.

    Attributes:
        kind: what it is.
        content: of the file.
        code: of the problem that names it.
    """

    kind: str
    content: bytes
    code: str


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """The file of a picture."""
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def scenery(width: int = 96, height: int = 64) -> Pixels:
    """uint8 [height, width, 3] with no two rows or columns alike, smooth enough for lossy formats."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1).astype(np.uint8)


def noise(width: int, height: int) -> Image.Image:
    """What costs decoders most."""
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file (ISO/IEC 15948, 5.3)."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, body: bytes, *, depth: int = 8, colour: int = 2, extra: bytes = b"") -> bytes:
    """A PNG file of these bytes, as they are in IDAT; `extra` chunks stand before it."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def good() -> Iterator[Good]:
    """Every odd kind that is read, the eight EXIF orientations among them."""
    scene = scenery()
    image = Image.fromarray(scene)
    grey = image.convert("L")
    greys = np.repeat(np.asarray(grey)[..., None], 3, -1)
    yield Good("JPEG", encoded(image, "JPEG", quality=95), scene, 3)
    yield Good("JPEG, progressive", encoded(image, "JPEG", quality=95, progressive=True), scene, 3)
    yield Good("JPEG, grey", encoded(grey, "JPEG", quality=95), greys, 3)
    yield Good("JPEG, CMYK", encoded(image.convert("CMYK"), "JPEG", quality=95), scene, 4)
    yield Good("MPO, two pictures", encoded(image, "MPO", save_all=True, append_images=[grey.convert("RGB")]), scene, 6)
    yield from _oriented(scene)
    yield Good("PNG", encoded(image, "PNG"), scene)
    yield Good("PNG, 16-bit RGB", cv2.imencode(".png", scene[..., ::-1].astype(np.uint16) * 257)[1].tobytes(), scene)
    yield Good("PNG, 16-bit grey", encoded(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG"), greys)
    yield from _transparent(image, scene)
    palette = image.quantize(64)
    yield Good("PNG, palette", encoded(palette, "PNG"), np.asarray(palette.convert("RGB")))
    black_white = image.convert("1")
    yield Good("PNG, 1-bit", encoded(black_white, "PNG"), np.asarray(black_white.convert("RGB")))
    later = [Image.new("RGB", image.size, "red")] * 3
    yield Good("PNG, animated", encoded(image, "PNG", save_all=True, append_images=later), scene)
    yield Good(
        "GIF, animated", encoded(palette, "GIF", save_all=True, append_images=later), np.asarray(palette.convert("RGB"))
    )
    yield Good("WEBP", encoded(image, "WEBP", quality=95), scene, 4)
    yield Good("WEBP, lossless", encoded(image, "WEBP", lossless=True), scene)
    yield Good("WEBP, animated", encoded(image, "WEBP", lossless=True, save_all=True, append_images=later), scene)
    yield Good("AVIF", encoded(image, "AVIF", quality=95), scene, 4)
    yield Good("BMP", encoded(image, "BMP"), scene)
    yield Good("TIFF", encoded(image, "TIFF"), scene)
    yield Good("TIFF, LZW", encoded(image, "TIFF", compression="tiff_lzw"), scene)
    yield Good("TIFF, several pages", encoded(image, "TIFF", save_all=True, append_images=later), scene)
    yield Good("TIFF, 16-bit RGB", cv2.imencode(".tiff", scene[..., ::-1].astype(np.uint16) * 257)[1].tobytes(), scene)
    yield Good("TIFF, 16-bit grey", encoded(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "TIFF"), greys)
    yield Good("TIFF, CMYK", encoded(image.convert("CMYK"), "TIFF"), scene, 1)
    exif = overlapping(1000, 200_000, picture=False)
    yield Good("PNG whose EXIF tags share their bytes", encoded(image, "PNG", exif=exif), scene)
    yield Good("WEBP whose EXIF tags share their bytes", encoded(image, "WEBP", lossless=True, exif=exif), scene)
    yield Good("JPEG whose EXIF tags share their bytes", _exif_in_pieces(image, exif), scene, 3)
    yield Good("TIFF, 32-bit float grey", encoded(Image.fromarray(np.asarray(grey).astype(np.float32)), "TIFF"), greys)


def _oriented(scene: Pixels) -> Iterator[Good]:
    turned = {
        1: scene,
        2: scene[:, ::-1],
        3: scene[::-1, ::-1],
        4: scene[::-1],
        5: scene.swapaxes(0, 1),
        6: np.rot90(scene, 1),
        7: scene[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(scene, -1),
    }
    for orientation, pixels in turned.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = Image.fromarray(np.ascontiguousarray(pixels))
        yield Good(f"JPEG, EXIF orientations {orientation}", encoded(image, "JPEG", quality=95, exif=exif), scene, 3)
        yield Good(f"TIFF, EXIF orientations {orientation}", encoded(image, "TIFF", exif=exif), scene)


def _exif_in_pieces(image: Image.Image, exif: bytes) -> bytes:
    """A JPEG without JFIF, in which Pillow looks for EXIF at once, and joins its pieces."""
    content = encoded(image, "JPEG", quality=95)
    pieces = [b"Exif\0\0" + exif[start : start + 65_000] for start in range(0, len(exif), 65_000)]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(piece) + 2) + piece for piece in pieces)
    return content[:2] + segments + content[20:]


def _transparent(image: Image.Image, scene: Pixels) -> Iterator[Good]:
    """On the left half nothing is to be seen: it is white."""
    alpha = Image.new("L", image.size, 0)
    alpha.paste(255, (image.width // 2, 0, *image.size))
    layer = image.copy()
    layer.putalpha(alpha)
    halved = scene.copy()
    halved[:, : image.width // 2] = 255
    yield Good("PNG, alpha", encoded(layer, "PNG"), halved)
    yield Good("WEBP, alpha", encoded(layer, "WEBP", lossless=True, exact=True), halved)
    grey = image.convert("L")
    both = Image.merge("LA", (grey, alpha))
    greys = np.repeat(np.asarray(grey)[..., None], 3, -1).copy()
    greys[:, : image.width // 2] = 255
    yield Good("PNG, grey and alpha", encoded(both, "PNG"), greys)
    key = tuple(int(value) for value in scene[-1, -1])
    keyed = scene.copy()
    keyed[(scene == scene[-1, -1]).all(-1)] = 255
    yield Good("PNG, transparent colour", encoded(image, "PNG", transparency=key), keyed)


def bad() -> Iterator[Bad]:
    """Every odd kind that is refused."""
    image = noise(160, 120)
    yield Bad("empty", b"", "empty")
    yield Bad("zeros", bytes(5000), "not_a_picture")
    yield Bad("text", b"dear diary, no picture today", "not_a_picture")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\nshowpage\n"
    yield Bad("EPS called .jpg", eps, "format")
    yield Bad("EPS with preview called .jpg", b"\xc5\xd0\xd3\xc6" + bytes(26) + eps, "format")
    yield Bad(
        "SVG called .jpg", b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "format"
    )
    yield Bad("HTML called .jpg", b"\n<!DOCTYPE html>\n<html><head><title>404", "web_page")
    yield Bad("HTML without its head called .jpg", b"<head><title>Moved</title></head>", "web_page")
    yield Bad("HEIC called .jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "format")
    yield Bad("PDF called .jpg", b"%PDF-1.7\n", "format")
    yield Bad("video called .jpg", b"\0\0\0\x18ftypisom\0\0\0\0", "not_a_picture")
    for form in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"):
        content = encoded(image, form)
        code = "unreadable" if form in ("WEBP", "AVIF") else "truncated"
        yield Bad(f"{form}, cut in half", content[: len(content) // 2], code)
    content = encoded(image, "JPEG")
    yield Bad("JPEG, zeroed head", bytes(64) + content[64:], "not_a_picture")
    for size in ((60_000, 60_000), (65_535, 65_535), (2**31 - 1, 2**31 - 1)):
        yield Bad(f"PNG that claims {size[0]} × {size[1]}", png(*size, zlib.compress(b"")), "too_large")
    yield Bad(
        "GIF that claims 60000 × 60000", _claims(encoded(image.convert("P"), "GIF"), 6, "<HH", 60_000), "too_large"
    )
    yield Bad("BMP that claims 60000 × 60000", _claims(encoded(image, "BMP"), 18, "<ii", 60_000), "too_large")
    yield Bad("TIFF that claims 60000 × 60000", _tiff(60_000, 60_000, 64), "too_large")
    yield Bad("JPEG that claims 65500 × 65500", _jpeg(encoded(image, "JPEG"), 65_500, 65_500), "too_large")
    yield Bad("WEBP that claims 16383 × 16383", _webp(encoded(image, "WEBP"), 16_383, 16_383), "too_large")
    yield Bad("JPEG of 65500 × 20", encoded(Image.new("RGB", (65_500, 20)), "JPEG"), "too_long")
    yield Bad("TIFF whose strip is said to have 4 GB", _tiff(6000, 6000, 2**32 - 1), "truncated")
    row = b"".join(b"\0" + bytes(range(16)) * 3 for _ in range(16))
    bomb = zlib.compress(bytes(100_000_000), 9)
    for kind, head in {"zTXt": b"k\0\0", "iTXt": b"k\0\1\0\0\0", "iCCP": b"k\0\0"}.items():
        extra = chunk(kind.encode(), head + bomb)
        yield Bad(f"PNG whose {kind} grows to 100 MB", png(16, 16, zlib.compress(row), extra=extra), "unreadable")

    yield from tangled(4_000_000)


def tangled(size: int) -> Iterator[Bad]:
    """Files of about so many bytes, in pieces that cost far more time than they have bytes."""
    image = noise(32, 32)
    content = encoded(image, "PNG")
    yield Bad("PNG of empty chunks", content[:33] + chunk(b"teST", b"") * (size // 12) + content[33:], "tangled")
    text = chunk(b"iTXt", b"k\0\0\0\0\0" + bytes(5 * size))
    yield Bad("PNG of one long text", content[:33] + text + content[33:], "tangled")
    content = encoded(image, "JPEG")
    yield Bad("JPEG of empty segments", content[:2] + b"\xff\xe5\0\2" * (size // 4) + content[2:], "tangled")
    yield Bad("JPEG of fill bytes", content[:2] + b"\xff" * size + content[2:], "tangled")
    content = encoded(image.convert("P"), "GIF")
    head = 13 + 768  # with the palette
    yield Bad("GIF of comments", content[:head] + b"!\xfe\1x\0" * (size // 5) + content[head:], "tangled")
    text = (b"\xff" + bytes(255)) * (size // 256)
    yield Bad("GIF of one long comment", content[:head] + b"!\xfe" + text + b"\0" + content[head:], "tangled")
    yield Bad("TIFF of a million strips", _strips(1_000_000), "tangled")
    yield Bad("TIFF whose tags share their bytes", overlapping(2000, 1_000_000, picture=True), "tangled")
    content = encoded(Image.new("L", (4000, 4000), 130), "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    yield Bad("JPEG of 1000 empty passes", content[:-2] + last * 1000 + b"\xff\xd9", "tangled")


def _claims(content: bytes, place: int, form: str, side: int) -> bytes:
    """The file with another width and height in its header."""
    data = bytearray(content)
    struct.pack_into(form, data, place, side, side)
    return bytes(data)


def _jpeg(content: bytes, width: int, height: int) -> bytes:
    data = bytearray(content)
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    return bytes(data)


def _webp(content: bytes, width: int, height: int) -> bytes:
    data = bytearray(content)
    struct.pack_into("<HH", data, data.index(b"\x9d\x01\x2a") + 3, width, height)
    return bytes(data)


def _tiff(width: int, height: int, strip: int) -> bytes:
    """A TIFF 6.0 of one strip that is said to have so many bytes."""
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: strip}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 16) + bytes(8) + struct.pack("<H", len(tags)) + entries + bytes(4)


def _strips(count: int) -> bytes:
    tags = {256: (1, 32), 257: (1, 32), 258: (1, 8), 259: (1, 1), 262: (1, 1), 277: (1, 1), 278: (1, 1)}
    tags |= {273: (count, 200), 279: (count, 200)}
    entries = b"".join(struct.pack("<HHII", tag, 4, *value) for tag, value in sorted(tags.items()))
    start = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries
    return start.ljust(200, b"\0") + struct.pack("<I", 200) * count


def overlapping(count: int, size: int, *, picture: bool) -> bytes:
    """A TIFF, or EXIF where it is no picture, of so many tags, each of which holds the same `size` bytes."""
    sound = {256: 32, 257: 32, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 32, 279: 1024} if picture else {}
    tags = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in sound.items()]
    tags += [struct.pack("<HHII", 40_000 + number, 1, size, 100) for number in range(count)]
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(tags) + bytes(4) + bytes(size)


def damaged(seed: int, each: int) -> Iterator[tuple[str, bytes]]:
    """(format, file) of pictures cut, with bits flipped, ranges zeroed or repeated; `each` of every format."""
    chance = random.Random(seed)
    image = Image.fromarray(scenery())
    forms: dict[str, bytes] = {
        form: encoded(image, form) for form in ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF")
    }
    forms["JPEG, progressive"] = encoded(image, "JPEG", progressive=True)
    forms["PNG, palette"] = encoded(image.quantize(32), "PNG", transparency=1)
    forms["TIFF, LZW"] = encoded(image, "TIFF", compression="tiff_lzw")
    for form, content in forms.items():
        for _ in range(each):
            yield form, _mutated(bytearray(content), chance)


def _mutated(data: bytearray, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    match chance.randrange(5):
        case 0:
            del data[start:]
        case 1:
            for _ in range(chance.randrange(1, 20)):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 2:
            data[start : start + 200] = bytes(len(data[start : start + 200]))
        case 3:
            for _ in range(3):
                data[chance.randrange(min(len(data), 120))] = chance.randrange(256)
        case 4:
            data[start:start] = data[start : start + chance.randrange(1, 400)]
    return bytes(data)
