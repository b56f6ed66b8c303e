#!/usr/bin/env bash
# One would guess: an RGB TIFF of 16 bits that stores its three planes one after the other (PlanarConfiguration 2) is read
# as the same image with interleaved samples is: Pillow keeps the high byte of each sample.
#
# True: Pillow decodes uncompressed planes as if they had 8 bits. Every second column is a low byte, only the left half of
# the image is shown, and no error is raised. Compressed planes are right.
#
# Seen with Pillow 12.3.0:
#   separate, None: 256 of 256 pixels differ from the high bytes
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==12.3.0 numpy==2.4.6 tifffile==2026.3.3
"$folder/venv/bin/python" - <<'PYTHON'
import io

import numpy as np
import PIL
import tifffile
from PIL import Image

print("Pillow", PIL.__version__)
samples = np.random.default_rng(0).integers(0, 65536, (16, 16, 3)).astype(np.uint16)
differing = {}
for planes in ("contig", "separate"):
    for compression in (None, "zlib"):
        file = io.BytesIO()
        stored = samples if planes == "contig" else samples.transpose(2, 0, 1)
        tifffile.imwrite(file, stored, photometric="rgb", planarconfig=planes, compression=compression, metadata=None)
        # tifffile reads back what was written, whichever way it is stored.
        file.seek(0)
        assert np.array_equal(tifffile.imread(file), stored)
        pixels = np.asarray(Image.open(file))
        assert pixels.shape == samples.shape
        differing[planes, compression] = int((pixels != samples >> 8).any(axis=2).sum())
        print(f"{planes}, {compression}: {differing[planes, compression]} of 256 pixels differ from the high bytes")
assert differing.pop(("separate", None)) > 200, "uncompressed planes of 16 bits are read rightly now: mended"
assert not any(differing.values()), "other kinds are read wrongly now"
PYTHON
