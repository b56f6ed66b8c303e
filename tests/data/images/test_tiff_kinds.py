"""Kinds of TIFF that are not read are called that, and no library writes to standard error."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from ftlab.core.errors import ImageError
from ftlab.data.images import decode
from tests.support.deep_files import make_tiff


def ones(channels: int, dtype: type) -> np.ndarray:
    return np.ones((8, 8, channels), dtype)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "samples", "how"),
    [
        ("13 bands", ones(13, np.uint16), {}),
        ("2 bands", ones(2, np.uint16), {}),
        ("2 bands", ones(2, np.uint8), {}),
        ("5 bands", ones(5, np.uint8), {}),
        ("1 band of 16-bit floats", ones(1, np.float16), {"sample_format": 3}),
        ("1 band of 64-bit floats", ones(1, np.float64), {"sample_format": 3}),
        ("3 bands of 32-bit floats", ones(3, np.float32), {"sample_format": 3, "photometric": 2}),
        ("3 bands of 32-bit integers", ones(3, np.uint32), {"photometric": 2}),
        ("1 band of 64-bit integers", ones(1, np.uint64), {}),
        ("1 band of signed 8-bit integers", ones(1, np.int8), {"sample_format": 2}),
        ("complex numbers", ones(1, np.complex64), {"sample_format": 6}),
        ("YCbCr colors without compression", ones(3, np.uint8), {"photometric": 6}),
        ("CIELAB colors", ones(3, np.uint8), {"photometric": 8}),
        ("the raw values of a camera's sensor", ones(1, np.uint16), {"photometric": 32803}),
        ("compression 34712", ones(1, np.uint8), {"shorts": {259: 34712}}),
        ("compression 50001", ones(3, np.uint8), {"photometric": 2, "shorts": {259: 50001}}),
        (
            "16-bit bands that are compressed one by one",
            ones(3, np.uint16),
            {"photometric": 2, "separate": True, "compressed": True},
        ),
    ],
)
def test_a_kind_that_is_not_read_is_named(
    kind: str, samples: np.ndarray, how: dict[str, Any], order: Literal["<", ">"]
) -> None:
    data = make_tiff(samples, order=order, **how)
    for look in (decode.read_image, decode.verify_image):
        with pytest.raises(ImageError) as caught:
            look(io.BytesIO(data))
        assert caught.value.problem == f"It is a TIFF with {kind}, which is not supported."


def test_a_damaged_tiff_is_still_called_damaged() -> None:
    data = make_tiff(ones(1, np.uint16))
    for damaged in (data[:60], data[:100], b"II*\0" + bytes(100)):
        with pytest.raises(ImageError) as caught:
            decode.read_image(io.BytesIO(damaged))
        assert caught.value.code in ("unreadable", "truncated")


def test_separate_planes_are_read() -> None:
    samples = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    for compressed in (False, True):
        data = make_tiff(samples, photometric=2, separate=True, compressed=compressed)
        np.testing.assert_array_equal(decode.read_image(io.BytesIO(data)), samples)


@pytest.mark.skipif(sys.platform == "win32", reason="libtiff's messages cannot be turned off there")
def test_no_library_writes_to_standard_error(tmp_path: Path) -> None:
    """In a process of its own: the libraries write past Python."""
    noise = np.random.default_rng(0).integers(0, 4096, (64, 64, 1)).astype(np.uint16)
    packed = bytearray(make_tiff(noise, compressed=True))
    packed[-4000:-3900] = b"\xff" * 100
    (tmp_path / "spoiled.tif").write_bytes(packed)
    (tmp_path / "bands.tif").write_bytes(make_tiff(ones(13, np.uint16)))
    (tmp_path / "cut.tif").write_bytes(make_tiff(noise, compressed=True)[:3000])
    program = (
        "import sys; from ftlab.data.images import decode\n"
        "for file in sys.argv[1:]:\n"
        "    try: decode.read_image(file)\n"
        "    except decode.ImageError as error: print(error.code)\n"
    )
    files = [str(tmp_path / name) for name in ("spoiled.tif", "bands.tif", "cut.tif")]
    done = subprocess.run([sys.executable, "-c", program, *files], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["unreadable", "tiff", "unreadable"]
    assert done.stderr == ""
