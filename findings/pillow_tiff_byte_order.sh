#!/usr/bin/env bash
# One would guess: a TIFF whose bytes are ordered high byte first ("MM") gives the same pixels whether it is compressed or
# not. So it is with 16-bit unsigned integers.
#
# True: Pillow swaps the bytes of compressed samples of 16-bit signed integers, 32-bit integers and floats once more than
# libtiff, which has already returned them in the machine's order. No error is raised: 1000 becomes -6141, and floats
# become numbers near 0. Deflate, LZW and PackBits do the same, as all of them are decoded by libtiff.
#
# Seen with Pillow 12.3.0, on x86_64:
#   int16, deflate: [0, 1000, 2000, 3000] is read as [0, -6141, -12281, -18421]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==12.3.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io
import struct
import sys
import zlib

import numpy as np
import PIL
from PIL import Image

FORMATS = {"u": 1, "i": 2, "f": 3}


def write_tiff(samples: np.ndarray, *, compress: bool) -> bytes:
    """A grey TIFF of one strip, high byte first (TIFF 6.0, sections 2 to 4; Deflate is compression 8)."""
    height, width = samples.shape
    strip = samples.astype(samples.dtype.newbyteorder(">")).tobytes()
    strip = zlib.compress(strip) if compress else strip
    tags = [(256, width), (257, height), (258, samples.dtype.itemsize * 8), (259, 8 if compress else 1), (262, 1),
            (273, 0), (277, 1), (278, height), (279, len(strip)), (339, FORMATS[samples.dtype.kind])]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, start if tag == 273 else value) for tag, value in tags)
    return b"MM\0*" + struct.pack(">IH", 8, len(tags)) + entries + bytes(4) + strip


print("Pillow", PIL.__version__)
if sys.byteorder == "big":
    sys.exit("not seen on this machine: its own order is that of the file")
outcome = {}
for kind in ("uint16", "int16", "int32", "float32"):
    samples = (np.arange(4).reshape(2, 2) * 1000).astype(kind)
    for name, compress in (("plain", False), ("deflate", True)):
        read = np.asarray(Image.open(io.BytesIO(write_tiff(samples, compress=compress))))
        outcome[kind, name] = np.array_equal(read, samples)
        print(f"{kind}, {name}: {samples.ravel().tolist()} is read as {read.ravel().tolist()}")
swapped = {key for key, is_right in outcome.items() if not is_right}
assert swapped == {(kind, "deflate") for kind in ("int16", "int32", "float32")}, "another set is swapped now"
PYTHON
