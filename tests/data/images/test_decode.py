"""The door for pixels: what is let in, how it looks inside, and what is said of the rest."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from ftlab.core.errors import ImageError
from ftlab.data.images import convert_rgb, decode
from ftlab.data.images.decode_options import DecodeOptions

ORIENTATION = 0x0112


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def opened(data: bytes) -> np.ndarray:
    return decode.read_image(io.BytesIO(data))


def scenery(width: int = 120, height: int = 90) -> Image.Image:
    """A picture with no two rows or columns alike."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, x * y % 256], -1).astype(np.uint8))


def quarters(width: int = 64, height: int = 32) -> np.ndarray:
    """Red and green above, blue and white below: tells how a picture lies."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[: height // 2, : width // 2] = (255, 0, 0)
    pixels[: height // 2, width // 2 :] = (0, 255, 0)
    pixels[height // 2 :, : width // 2] = (0, 0, 255)
    return pixels


def bare_png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


# What is let in


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True, "exact": True}),
    ],
)
def test_a_lossless_picture_gives_its_very_pixels(kind: str, options: dict[str, object]) -> None:
    pixels = opened(encoded(scenery(), kind, **options))
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, np.asarray(scenery()))


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "AVIF", "WEBP", "GIF"])
def test_a_lossy_picture_gives_nearly_its_pixels(kind: str) -> None:
    pixels = opened(encoded(Image.fromarray(quarters()), kind))
    assert np.abs(pixels.astype(int) - quarters()).mean() < 8


def test_what_a_file_is_its_content_decides_not_its_name(tmp_path: Path) -> None:
    file = tmp_path / "really_a_png.jpg"
    file.write_bytes(encoded(scenery(), "PNG"))
    np.testing.assert_array_equal(decode.read_image(file), np.asarray(scenery()))


def test_a_path_a_string_and_a_stream_give_the_same_pixels(tmp_path: Path) -> None:
    file = tmp_path / "scenery.jpg"
    file.write_bytes(encoded(scenery(), "JPEG"))
    with file.open("rb") as stream:
        stream.seek(7)
        from_stream = decode.read_image(stream)
        assert not stream.closed
    np.testing.assert_array_equal(decode.read_image(file), from_stream)
    np.testing.assert_array_equal(decode.read_image(str(file)), from_stream)


# Upright


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_picture_taken_with_the_camera_turned_stands_upright(kind: str, orientation: int) -> None:
    undone: dict[int, Callable[[Any], Any]] = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
        8: lambda p: np.rot90(p, -1),
    }
    undo = undone[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(undo(quarters()))), kind, exif=exif)
    pixels = opened(data)
    assert pixels.shape == (32, 64, 3)
    assert np.abs(pixels.astype(int) - quarters()).mean() < 8
    assert decode.read_image_size(io.BytesIO(data)) == decode.verify_image(io.BytesIO(data)) == (64, 32)


def test_a_damaged_note_about_the_camera_does_not_spoil_the_picture() -> None:
    data = encoded(scenery(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09garbage")
    assert opened(data).shape == (90, 120, 3)
    assert decode.read_image_size(io.BytesIO(data)) == (120, 90)


# Size


@pytest.mark.parametrize(
    ("width", "height", "at_least", "shape"),
    [
        (2400, 1200, 512, (600, 1200)),
        (1200, 2400, 512, (1200, 600)),
        (2400, 1023, 512, (1023, 2400)),
        (2400, 1024, 512, (512, 1200)),
        (2400, 1200, 150, (150, 300)),
        (2400, 1200, 10, (150, 300)),
        (300, 200, 512, (200, 300)),
    ],
)
def test_a_large_jpeg_is_decoded_smaller_but_its_short_side_keeps_at_least(
    width: int, height: int, at_least: int, shape: tuple[int, int]
) -> None:
    data = encoded(Image.new("RGB", (width, height)), "JPEG")
    assert decode.read_image(io.BytesIO(data), DecodeOptions(at_least)).shape[:2] == shape
    assert decode.read_image_size(io.BytesIO(data)) == decode.verify_image(io.BytesIO(data)) == (width, height)


# Colours


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_ramp(kind: str) -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    pixels = opened(encoded(Image.fromarray(ramp), kind))
    np.testing.assert_array_equal(pixels[..., 0], np.rint(ramp / 257))
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])


def test_sixteen_bit_grey_with_the_high_byte_first_is_the_same() -> None:
    ramp = np.arange(65536, dtype=">u2").reshape(256, 256)
    assert Image.fromarray(ramp).mode == "I;16B"
    np.testing.assert_array_equal(opened(encoded(Image.fromarray(ramp), "TIFF"))[..., 0], np.rint(ramp / 257))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 100, 255]], np.int32), [0, 100, 255]),
        (np.array([[0, 257, 65535]], np.int32), [0, 1, 255]),
        (np.array([[-1000, 0, 1000]], np.int32), [0, 128, 255]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 100, 255]], np.float32), [0, 100, 255]),
        (np.array([[np.nan, np.inf, 1]], np.float32), [0, 0, 255]),
        (np.array([[-9e19, -9e19, 9e19]], np.float32), [0, 0, 255]),
        (np.array([[-3e38, 0.4, 1]], np.float32), [0, 102, 255]),
        (np.zeros((1, 3), np.float32), [0, 0, 0]),
        (np.full((1, 3), -5, np.float32), [0, 0, 0]),
    ],
)
def test_wide_grey_is_taken_for_what_it_seems(values: np.ndarray, expected: list[int]) -> None:
    assert opened(encoded(Image.fromarray(values), "TIFF"))[0, :, 1].tolist() == expected


def test_transparency_lies_on_white() -> None:
    layer = np.zeros((1, 3, 4), np.uint8)
    layer[0, :, 0] = 200
    layer[0, :, 3] = (0, 128, 255)
    red = opened(encoded(Image.fromarray(layer), "PNG"))
    assert red[0, 0].tolist() == [255, 255, 255]
    assert red[0, 1].tolist() == pytest.approx([227, 127, 127], abs=1)
    assert red[0, 2].tolist() == [200, 0, 0]


@pytest.mark.parametrize(
    "data",
    [
        encoded(Image.new("LA", (4, 4), (0, 0)), "PNG"),
        encoded(Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
        encoded(Image.new("L", (4, 4), 7), "PNG", transparency=7),
        encoded(Image.new("RGB", (4, 4), (9, 9, 9)).quantize(2), "PNG", transparency=0),
        encoded(Image.new("RGB", (4, 4), (9, 9, 9)).quantize(2), "PNG", transparency=b"\0\0"),
        encoded(Image.new("P", (4, 4), 0), "GIF", transparency=0),
        encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 0)), "WEBP", lossless=True),
    ],
    ids=["LA", "colour key", "grey key", "palette key", "palette alpha", "GIF", "WEBP"],
)
def test_every_kind_of_transparency_is_seen(data: bytes) -> None:
    assert opened(data).min() == 255


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("1", (3, 3), 1), (255, 255, 255)),
        (Image.new("L", (3, 3), 77), (77, 77, 77)),
        (Image.new("RGB", (3, 3), (10, 20, 30)).quantize(4), (10, 20, 30)),
        (Image.new("CMYK", (3, 3), (0, 255, 255, 0)), (255, 0, 0)),
    ],
    ids=["1-bit", "grey", "palette", "CMYK"],
)
def test_other_modes_become_rgb(image: Image.Image, expected: tuple[int, int, int]) -> None:
    assert tuple(opened(encoded(image, "TIFF"))[0, 0]) == expected


def test_a_cmyk_jpeg_is_not_inverted() -> None:
    assert opened(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))[8, 8].tolist() == pytest.approx(
        [255, 0, 0], abs=6
    )


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO", "AVIF"])
def test_of_several_frames_it_is_the_first(kind: str) -> None:
    first, second = Image.new("RGB", (32, 32), (250, 0, 0)), Image.new("RGB", (32, 32), (0, 0, 250))
    pixels = opened(encoded(first, kind, save_all=True, append_images=[second]))
    assert pixels[16, 16].tolist() == pytest.approx([250, 0, 0], abs=12)


@pytest.mark.parametrize(
    "data",
    [
        encoded(scenery(), "PNG"),
        encoded(scenery().convert("RGBA"), "PNG"),
        encoded(scenery().quantize(16), "PNG", transparency=3),
        encoded(Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30)), "PNG"),
        encoded(Image.fromarray(np.arange(900, dtype=np.float32).reshape(30, 30) - 450), "TIFF"),
    ],
    ids=["RGB", "RGBA", "palette", "16-bit", "float"],
)
def test_a_large_picture_converted_in_bands_is_the_same(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = opened(data)
    monkeypatch.setattr(convert_rgb, "CONVERT_BAND_PIXELS", 1000)
    np.testing.assert_array_equal(opened(data), whole)


# What is not let in


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.jpg", b"", "empty"),
        ("notes.jpg", b"dear diary, no picture today", "not_a_picture"),
        ("zeros.png", bytes(4000), "not_a_picture"),
        ("pointer.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 1\n", "lfs"),
        ("link.png", b"/annex/objects/SHA256E-s1--aa.png\n", "annex"),
        ("denied.jpg", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "web_page"),
        ("packed.jpg", b"\x1f\x8b\x08" + bytes(50), "format"),
        ("gone.jpg", b"\n<!DOCTYPE html><html><title>404</title>", "web_page"),
        ("phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "format"),
        ("ten_bits.avif", b"\0\0\0\x18ftypheix\0\0\0\0mif1heix", "format"),
        ("scan.tif", b"II*\0T\x18\x08\0".ljust(128, b"\0") + b"DICM" + bytes(200), "format"),
        ("camera.tif", b"II*\0\x10\0\0\0CR\x02\0" + bytes(200), "format"),
        ("film.jpg", b"\0\0\0\x18ftypisom\0\0\0\0", "not_a_picture"),
        ("paper.png", b"%PDF-1.7\n", "format"),
        ("sound.webp", b"RIFF\x10\0\0\0WAVEfmt ", "not_a_picture"),
        ("header_only.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF\0", "truncated"),
        ("cut.jpg", encoded(scenery(), "JPEG")[:1500], "truncated"),
        ("cut.gif", encoded(scenery(), "GIF")[:1500], "truncated"),
        ("cut.png", encoded(scenery(), "PNG")[:1500], "truncated"),
        ("cut.avif", encoded(scenery(), "AVIF")[:700], "unreadable"),
        ("cut.webp", encoded(scenery(), "WEBP", lossless=True)[:700], "unreadable"),
        ("wide.png", bare_png(10_000, 6_000), "too_large"),
        ("bomb.png", bare_png(60_000, 60_000), "too_large"),
        ("strip.png", bare_png(201, 1), "too_long"),
        ("tower.png", bare_png(1, 40_000), "too_long"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_reason(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    for test in (decode.read_image, decode.verify_image):
        with pytest.raises(ImageError) as caught:
            test(tmp_path / name)
        error = caught.value
        assert error.code == code
        assert str(error) == f"{tmp_path / name}: {error.problem} {error.remedy}"
        assert error.problem.endswith(".")
        assert error.remedy.endswith(".")


def test_a_missing_file_a_folder_and_a_pipe_are_named(tmp_path: Path) -> None:
    for path, code in ((tmp_path / "none.jpg", "missing"), (tmp_path, "not_a_picture"), (Path("/dev/null"), None)):
        if code or path.exists():
            with pytest.raises(ImageError) as caught:
                decode.read_image(path)
            assert caught.value.code == (code or "not_a_picture")


def test_a_file_that_may_not_be_read_and_a_full_memory_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "scenery.png"
    file.write_bytes(encoded(scenery(), "PNG"))
    for raised, code in ((PermissionError(13, "denied"), "permission"), (MemoryError(), "memory")):

        def refuse(*_: object, raised: Exception = raised, **__: object) -> None:
            raise raised

        with monkeypatch.context() as patch:
            patch.setattr(Image, "open", refuse)
            with pytest.raises(ImageError) as caught:
                decode.read_image(file)
        assert caught.value.code == code
        assert caught.value.__cause__ is raised


def test_the_limits_are_inclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened(encoded(Image.new("L", (200, 1)), "PNG")).shape == (1, 200, 3)
    monkeypatch.setattr(decode, "MAX_PIXELS", 120 * 90)
    assert opened(encoded(scenery(120, 90), "PNG")).shape == (90, 120, 3)
    with pytest.raises(ImageError, match="megapixels"):
        opened(encoded(scenery(121, 90), "PNG"))


def test_the_header_tells_the_size_of_a_picture_that_is_cut_short() -> None:
    assert decode.read_image_size(io.BytesIO(encoded(scenery(), "JPEG")[:1500])) == (120, 90)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("progressive", [False, True])
def test_the_cheap_check_finds_every_jpeg_that_is_cut_short(share: float, *, progressive: bool) -> None:
    data = encoded(scenery(400, 300), "JPEG", progressive=progressive)
    assert decode.verify_image(io.BytesIO(data)) == (400, 300)
    with pytest.raises(ImageError):
        decode.verify_image(io.BytesIO(data[: int(len(data) * share)]))


# Manners


def test_pillows_warnings_do_not_reach_anyone() -> None:
    data = encoded(scenery(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\xff\xff\0\0\0\x10")
    with pytest.warns(UserWarning, match="Truncated"), Image.open(io.BytesIO(data)) as image:
        image.getexif()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert opened(data).shape == (90, 120, 3)
        with pytest.raises(ImageError):  # large enough for Pillow to warn, small enough for it to open
            opened(bare_png(10_000, 10_000))
    assert not heard


def test_no_file_stays_open(tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(encoded(scenery(), "JPEG"))
    (tmp_path / "cut.jpg").write_bytes(encoded(scenery(), "JPEG")[:1000])
    (tmp_path / "text.jpg").write_text("no picture")
    decode.read_image(tmp_path / "good.jpg")
    decode.verify_image(tmp_path / "good.jpg")
    decode.read_image_size(tmp_path / "cut.jpg")
    for name in ("cut.jpg", "text.jpg"):
        with pytest.raises(ImageError):
            decode.read_image(tmp_path / name)
    assert not [file for file in psutil.Process().open_files() if file.path.startswith(str(tmp_path))]


def test_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    contents = {
        "a.jpg": encoded(scenery(), "JPEG"),
        "b.png": encoded(scenery().quantize(8), "PNG"),
        "c.webp": encoded(scenery(), "WEBP"),
        "d.jpg": encoded(scenery(), "JPEG")[:1000],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)

    def look(name: str) -> bytes | str:
        try:
            return decode.read_image(tmp_path / name).tobytes()
        except ImageError as error:
            return error.code

    alone = {name: look(name) for name in contents}
    assert alone["d.jpg"] == "truncated"
    names = list(contents) * 25
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(look, names)) == [alone[name] for name in names]


def test_two_hundred_damaged_files_are_read_or_named_and_nothing_else_happens(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    picture = scenery()
    whole = [
        encoded(picture, "JPEG", exif=exif),
        encoded(picture, "JPEG", progressive=True),
        encoded(picture.convert("CMYK"), "JPEG"),
        encoded(picture, "MPO", save_all=True, append_images=[picture]),
        encoded(picture, "PNG", exif=exif),
        encoded(picture.quantize(16), "PNG", transparency=3),
        encoded(Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30)), "PNG"),
        encoded(picture, "WEBP", exif=exif),
        encoded(picture, "BMP"),
        encoded(picture, "GIF"),
        encoded(picture, "TIFF", exif=exif),
        encoded(picture, "TIFF", compression="tiff_lzw"),
        encoded(picture.convert("F"), "TIFF"),
        encoded(picture, "AVIF"),
    ]
    chance = random.Random(0)

    def cut(data: bytearray) -> None:
        del data[chance.randrange(len(data)) :]

    def flip(data: bytearray) -> None:
        for _ in range(chance.randrange(1, 20)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)

    def blank(data: bytearray) -> None:
        start = chance.randrange(len(data))
        data[start : start + 200] = bytes(len(data[start : start + 200]))

    def behead(data: bytearray) -> None:
        for _ in range(4):
            data[chance.randrange(100)] = chance.randrange(256)

    def graft(data: bytearray) -> None:
        data[len(data) // 2 :] = chance.choice(whole)[-1000:]

    read: list[str] = []
    named: list[str] = []
    for index in range(200):
        data = bytearray(chance.choice(whole))
        chance.choice((cut, flip, blank, behead, graft))(data)
        file = tmp_path / f"{index}{chance.choice(sorted(decode.IMAGE_SUFFIXES))}"
        file.write_bytes(data)
        try:
            width, height = decode.verify_image(file)
        except ImageError as error:
            named.append(str(error))
            with pytest.raises(ImageError):
                decode.read_image(file)
        else:
            assert decode.read_image(file).shape == (height, width, 3)
            read.append(file.name)
    assert len(read) > 20
    assert len(named) > 20
    assert all(sentence.startswith(str(tmp_path)) for sentence in named)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"P1\n2 1\n0 1\n", [255, 0]),
        (b"P4\n8 1\n\xf0", [0, 0, 0, 0, 255, 255, 255, 255]),
        (b"P2\n# a comment\n2 1\n100\n0 100\n", [0, 255]),
        (b"P5\n2 1\n255\n\x00\x80", [0, 128]),
        (b"P5\n2 1\n4095\n\x00\x00\x0f\xff", [0, 255]),
        (b"P6\n1 1\n1023\n\x03\xff\x03\xff\x03\xff", [255]),
    ],
)
def test_netpbm_files_are_read_by_their_own_maximum(content: bytes, expected: list[int]) -> None:
    assert decode.read_image(io.BytesIO(content))[0, :, 0].tolist() == expected
