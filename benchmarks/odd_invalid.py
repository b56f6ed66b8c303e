"""Odd image files that must be refused, with the error code of each; and randomly damaged files."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from benchmarks.odd import draw_noise, draw_scenery, encode_image, make_overlapping_tags, make_png, make_png_chunk


@dataclass(frozen=True)
class InvalidImage:
    """A file that must be refused.

    Attributes:
        kind: what it is.
        content: bytes of the file.
        code: code of the error.
    """

    kind: str
    content: bytes
    code: str


def make_invalid_images() -> Iterator[InvalidImage]:
    """Yield every odd kind that is refused."""
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
        # Decoders of WebP and AVIF do not tell a cut file from a damaged one.
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
    # Compressed to a thousandth.
    bomb = zlib.compress(bytes(100_000_000), 9)
    for kind, chunk_head in {"zTXt": b"k\0\0", "iTXt": b"k\0\1\0\0\0", "iCCP": b"k\0\0"}.items():
        extra = make_png_chunk(kind.encode(), chunk_head + bomb)
        yield InvalidImage(
            f"PNG whose {kind} grows to 100 MB", make_png(16, 16, zlib.compress(row), extra=extra), "unreadable"
        )

    yield from make_decompression_bombs(4_000_000)


def make_decompression_bombs(size: int) -> Iterator[InvalidImage]:
    """Yield files of about `size` bytes in pieces that cost far more time than their bytes."""
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
    # From the last Start of Scan marker to the End of Image marker.
    last_scan = content[content.rindex(b"\xff\xda") : -2]
    yield InvalidImage("JPEG of 1000 empty passes", content[:-2] + last_scan * 1000 + b"\xff\xd9", "tangled")


def _claim_size(content: bytes, offset: int, struct_format: str, side: int) -> bytes:
    """Return the file with another width and height in its header.

    Args:
        content: bytes of the file.
        offset: position of width and height in bytes.
        struct_format: `struct` format of width and height.
        side: value to write for both.
    """
    data = bytearray(content)
    struct.pack_into(struct_format, data, offset, side, side)
    return bytes(data)


def _claim_jpeg_size(content: bytes, width: int, height: int) -> bytes:
    """Return the JPEG with another size in its frame header."""
    data = bytearray(content)
    # Marker Start of Frame, its length and the precision come before the size.
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    return bytes(data)


def _claim_webp_size(content: bytes, width: int, height: int) -> bytes:
    """Return the lossy WebP with another size in its frame header."""
    data = bytearray(content)
    # The size follows the start code of a VP8 key frame.
    struct.pack_into("<HH", data, data.index(b"\x9d\x01\x2a") + 3, width, height)
    return bytes(data)


def _make_tiff(width: int, height: int, strip: int) -> bytes:
    """Return a TIFF 6.0 of one strip that claims `strip` bytes."""
    # Width, length, bits, compression, photometric, strip offset, samples, rows per strip, strip bytes.
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: strip}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 16) + bytes(8) + struct.pack("<H", len(tags)) + entries + bytes(4)


def _make_striped_tiff(strip_count: int) -> bytes:
    """Return a TIFF of `strip_count` strips of a row each."""
    tags = {256: (1, 32), 257: (1, 32), 258: (1, 8), 259: (1, 1), 262: (1, 1), 277: (1, 1), 278: (1, 1)}
    # All strips have the same offset: the file needs the bytes of their table only.
    tags |= {273: (strip_count, 200), 279: (strip_count, 200)}
    entries = b"".join(struct.pack("<HHII", tag, 4, *value) for tag, value in sorted(tags.items()))
    start = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries
    return start.ljust(200, b"\0") + struct.pack("<I", 200) * strip_count


def make_damaged_images(seed: int, per_format: int) -> Iterator[tuple[str, bytes]]:
    """Yield (format, file) of damaged images: cut, bits flipped, bytes zeroed, header changed, or ranges repeated.

    Args:
        seed: seed of the damage.
        per_format: files of each format.
    """
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
    """Return the bytes with one random kind of damage."""
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
            for _ in range(3):  # in the header, where damage has the strangest effects
                data[rng.randrange(min(len(data), 120))] = rng.randrange(256)
        case 4:
            data[start:start] = data[start : start + rng.randrange(1, 400)]
    return bytes(data)
