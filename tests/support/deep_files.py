"""Files of deep pictures, of kinds that no library here writes: written by hand, by their specifications."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

Samples = npt.NDArray[Any]

AVIF_RAMPS = {
    10: (
        "AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAOltZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
        "AA5waXRtAAAAAAABAAAAHmlsb2MAAAAARAAAAQABAAAAAQAAAQ0AAACkAAAAKGlpbmYAAAAAAAEAAAAaaW5mZQIAAAAAAQAAYXYw"
        "MUNvbG9yAAAAAGhpcHJwAAAASWlwY28AAAAUaXNwZQAAAAAAAAAgAAAAIAAAAA5waXhpAAAAAAEKAAAADGF2MUOBAFwAAAAAE2Nv"
        "bHJuY2x4AAIAAgACgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAAArG1kYXQSAAoFGBE/9jUymAEQALyuhL4zJs6aVvguu1l0M3UE"
        "F3+GWiD0Z/qxKr1z0kQqrPNh9pVaphVqMtPPEHLI2wN1T16W4U416kg503xdlhPkFMpqjue4PRDGQZu+fryAYJNk16/Zf6hAoC9e"
        "vBPvkIjbCPNqOACet0uVplu9T4rZ0OkBxBwcywINU8W5yiCnaOqnDY4m96UxDmWBCCVSZK1ePipkQA=="
    ),
    12: (
        "AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAOltZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
        "AA5waXRtAAAAAAABAAAAHmlsb2MAAAAARAAAAQABAAAAAQAAAQ0AAACxAAAAKGlpbmYAAAAAAAEAAAAaaW5mZQIAAAAAAQAAYXYw"
        "MUNvbG9yAAAAAGhpcHJwAAAASWlwY28AAAAUaXNwZQAAAAAAAAAgAAAAIAAAAA5waXhpAAAAAAEMAAAADGF2MUOBQHwAAAAAE2Nv"
        "bHJuY2x4AAIAAgACgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAAAuW1kYXQSAAoGWBE/9jqAMqQBEADPvuA/2X3YadHkJ7EL9cS6"
        "GbY8SrNcKSzVwejNkG/qfQQvYTBKIOXDI6wJ+0zXt638XG8KJWp2Pce1TmBmeAI7XeMCJCS1JlLxWwl//1yM3BFca0YAd6D/j/Nz"
        "tIE13V96YDQfwYX1vokEoI7jogpOuzoOuFKDCUM4MKc3EDdY8CQO7v9ufKrT27u79nguoqypK3N0d7KjdjyjR+3ONE3RU8I="
    ),
}
"""AVIF of 10 and of 12 bits, in base64: 32 x 32 gray pixels that rise from 0 on the left to the largest value.

Pillow writes 8 bits only; OpenCV wrote these (`IMWRITE_AVIF_DEPTH`).
"""


def ramp(high: float, *, channels: int = 1, dtype: type = np.uint16, side: int = 32) -> Samples:
    """Samples [side, side, channels] that rise from 0 on the left to `high` on the right."""
    line: Samples = np.linspace(0, high, side).astype(dtype)
    return np.broadcast_to(line[None, :, None], (side, side, channels)).copy()


def make_png(samples: Samples, *, significant_bits: int = 0, transparent: tuple[int, ...] = ()) -> bytes:
    """A PNG of 16 bits of uint16 [H, W, C]; `significant_bits` become its sBIT, `transparent` its tRNS."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = samples.shape
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0))]
    if significant_bits:
        chunks.append(chunk(b"sBIT", bytes([significant_bits] * channels)))
    if transparent:
        chunks.append(chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return b"".join([b"\x89PNG\r\n\x1a\n", *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


def make_pnm(samples: Samples, white: int = 65535) -> bytes:
    """A PGM or PPM of 16 bits of uint16 [H, W, 1 or 3] whose largest value is declared to be `white`."""
    height, width, channels = samples.shape
    return f"P{5 if channels == 1 else 6} {width} {height} {white}\n".encode() + samples.astype(">u2").tobytes()


def make_tiff(
    samples: Samples,
    *,
    order: Literal["<", ">"] = "<",
    photometric: int = 1,
    sample_format: int = 1,
    separate: bool = False,
    compressed: bool = False,
    extra: tuple[int, ...] = (),
    shorts: Mapping[int, int] | None = None,
) -> bytes:
    """A TIFF of [H, W, C] in one strip a plane.

    Args:
        samples: of any type.
        order: `<` or `>`, of the bytes.
        photometric: 0 white is zero, 1 black is zero, 2 RGB, 8 CIELAB …
        sample_format: 1 unsigned, 2 signed, 3 floating point, 6 complex.
        separate: a plane for each channel.
        compressed: by zlib (Deflate).
        extra: ExtraSamples.
        shorts: further tags of one 16-bit value.
    """
    height, width, channels = samples.shape
    ordered = samples.astype(samples.dtype.newbyteorder(order))
    planes = [ordered[..., channel] for channel in range(channels)] if separate else [ordered]
    strips = [np.ascontiguousarray(plane).tobytes() for plane in planes]
    strips = [zlib.compress(strip) for strip in strips] if compressed else strips
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("H", [width]), 257: ("H", [height]), 258: ("H", [samples.dtype.itemsize * 8] * channels),
        259: ("H", [8 if compressed else 1]), 262: ("H", [photometric]), 273: ("I", [0] * len(strips)),
        277: ("H", [channels]), 278: ("H", [height]), 279: ("I", [len(strip) for strip in strips]),
        284: ("H", [2 if separate else 1]), 339: ("H", [sample_format] * channels),
    }  # fmt: skip
    if extra:
        tags[338] = ("H", list(extra))
    tags |= {tag: ("H", [value]) for tag, value in (shorts or {}).items()}

    def header() -> bytes:
        entries, values = b"", b""
        values_start = 8 + 2 + 12 * len(tags) + 4
        for tag, (kind, numbers) in sorted(tags.items()):
            packed = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
            entries += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[kind], len(numbers))
            if len(packed) <= 4:
                entries += packed.ljust(4, b"\0")
            else:
                entries += struct.pack(order + "I", values_start + len(values))
                values += packed
        start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
        return start + entries + bytes(4) + values

    offset, offsets = len(header()), []
    for strip in strips:
        offsets.append(offset)
        offset += len(strip)
    tags[273] = ("I", offsets)
    return header() + b"".join(strips)


def write_deep_folder(folder: Path, bits: int = 12, *, count: int = 8) -> Path:
    """Two classes of gray PNG of 16 bits that use `bits`: brighter to the right, and brighter to the left."""
    for name, step in (("falling", -1), ("rising", 1)):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            samples = ramp(2**bits - 1 - index, side=48)[:, ::step, 0]
            Image.fromarray(np.ascontiguousarray(samples)).save(folder / name / f"{index}.png")
    return folder
