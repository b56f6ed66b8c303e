"""What a program hands over as an image, and the decoder reads: the same pixels, whatever holds them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ftlab.core.errors import ConfigError
from ftlab.data.images.decode import read_image
from ftlab.inference.image_input import ImageInput, open_image_source

ORDERS = (("I;16", "<u2"), ("I;16B", ">u2"))
"""Modes of PIL and types of NumPy for 16 bits, the low byte first and the high byte first."""


@pytest.fixture
def pixels() -> np.ndarray:
    """uint8 [40, 60, 3]"""
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def decoded(image: ImageInput) -> np.ndarray:
    return np.asarray(read_image(open_image_source(image)))


def test_an_array_and_a_picture_are_read_to_the_pixel(pixels: np.ndarray) -> None:
    assert np.array_equal(decoded(pixels), pixels)
    assert np.array_equal(decoded(Image.fromarray(pixels)), pixels)
    grey = pixels[..., 0]
    assert np.array_equal(decoded(grey), np.repeat(grey[..., None], 3, axis=2))
    assert np.array_equal(decoded(Image.fromarray(grey).convert("I")), decoded(grey))


def test_a_picture_without_colours_of_red_green_and_blue_is_converted(pixels: np.ndarray) -> None:
    picture = Image.fromarray(pixels)
    for mode in ("CMYK", "YCbCr", "HSV", "LAB"):
        assert decoded(picture.convert(mode)).shape == (40, 60, 3), mode


def test_sixteen_bits_are_read_in_either_order_of_their_bytes(pixels: np.ndarray) -> None:
    values = pixels[..., 0].astype(np.uint16) * 257
    little, big = (Image.frombytes(mode, (60, 40), values.astype(kind).tobytes()) for mode, kind in ORDERS)
    assert np.array_equal(decoded(big), decoded(little))
    assert np.array_equal(decoded(big)[..., 0], pixels[..., 0])


def test_a_stream_that_cannot_be_rewound_is_read_into_memory(pixels: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: object) -> int:
            raise io.UnsupportedOperation("seek")

    assert np.array_equal(decoded(Pipe((tmp_path / "a.png").read_bytes())), pixels)


def test_a_path_may_begin_with_the_home_folder(
    pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(decoded("~/a.png"), pixels)


@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8, 1), (8, 8, 4), (1, 8, 8, 3), (8,), (0, 8, 3)], ids=str)
def test_an_array_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"uint8 \[H, W, 3\]"):
        open_image_source(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint16", "bool"])
def test_an_array_of_other_numbers_is_refused(dtype: str) -> None:
    with pytest.raises(ConfigError, match=dtype):
        open_image_source(np.zeros((8, 8, 3), dtype))
