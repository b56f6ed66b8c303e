"""A JPEG's frame header is read before any decoder sees the file: what is rare is refused by its name."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ftlab.core.errors import ImageError
from ftlab.data.images import decode, jpeg_header
from ftlab.data.images.decode_options import DecodeOptions
from ftlab.data.images.jpeg_header import JpegFrame, read_jpeg_frame

SCENE = Image.fromarray(np.random.default_rng(3).integers(0, 256, (96, 128, 3), np.uint8))


def encoded(image: Image.Image = SCENE, image_format: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def segment(marker: int, payload: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2 if length is None else length) + payload


def frame(marker: int, *, precision: int = 8, components: int = 3, sampling: int = 0x11, width: int = 128) -> bytes:
    table = b"".join(bytes((number, sampling, 0)) for number in range(1, components + 1))
    return segment(marker, struct.pack(">BHHB", precision, 96, width, components) + table)


def header(*segments: bytes) -> bytes:
    """The beginning of a JPEG without any compressed data."""
    return b"\xff\xd8" + b"".join(segments) + b"\xff\xda"


def refusal(data: bytes) -> tuple[str, object]:
    with pytest.raises(ImageError) as refused:
        decode.verify_image(io.BytesIO(data))
    with pytest.raises(ImageError) as again:
        decode.read_image(io.BytesIO(data))
    assert again.value.code == refused.value.code
    return refused.value.code, refused.value.values.get("process")


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC2])
def test_baseline_extended_and_progressive_frames_pass(marker: int) -> None:
    found = read_jpeg_frame(io.BytesIO(header(frame(marker, sampling=0x21))), "x")
    assert found == JpegFrame(128, 96, ((2, 1),) * 3)


@pytest.mark.parametrize(
    ("marker", "process"),
    [
        (0xC3, "lossless"),
        (0xC5, "hierarchical"),
        (0xC6, "hierarchical, progressive"),
        (0xC7, "hierarchical, lossless"),
        (0xC9, "arithmetic coding"),
        (0xCA, "arithmetic coding, progressive"),
        (0xCB, "arithmetic coding, lossless"),
        (0xCD, "arithmetic coding, hierarchical"),
        (0xCE, "arithmetic coding, hierarchical and progressive"),
        (0xCF, "arithmetic coding, hierarchical and lossless"),
        (0xDE, "hierarchical"),
        (0xF7, "JPEG-LS"),
    ],
)
def test_every_other_process_is_refused_by_name(marker: int, process: str) -> None:
    assert refusal(header(segment(0xE0, b"JFIF\0"), frame(marker))) == ("jpeg_process", process)
    with pytest.raises(ImageError) as refused:
        decode.read_image_size(io.BytesIO(header(frame(marker))))
    assert process in str(refused.value)
    assert "PNG" in str(refused.value)


@pytest.mark.parametrize("precision", [2, 12, 16])
def test_a_precision_other_than_8_bits_is_refused(precision: int) -> None:
    assert refusal(header(frame(0xC1, precision=precision))) == ("jpeg_process", f"{precision} bits per channel")


@pytest.mark.parametrize(
    "data",
    [
        header(frame(0xC0, components=2)),
        header(frame(0xC0, components=5)),
        header(frame(0xC0, components=0)),
        header(frame(0xC0, sampling=0x01)),
        header(frame(0xC0, sampling=0x15)),
        header(frame(0xC0, width=0)),
        header(frame(0xC0, precision=90)),
        header(frame(0xC0)[:2] + b"\x00\x20" + frame(0xC0)[4:] + bytes(13)),
        header(frame(0xC0), frame(0xC0)),
    ],
)
def test_a_frame_header_that_contradicts_itself_is_damage(data: bytes) -> None:
    assert refusal(data) == ("unreadable", None)


@pytest.mark.parametrize("filler", [b"", b"\xff" * 9, b"junk", b"\xff\x00\x12", b"\xff\xd0", b"\xff\x01"])
def test_a_frame_is_found_behind_what_libjpeg_skips(filler: bytes) -> None:
    assert refusal(header(filler + segment(0xFE, b"text") + filler + frame(0xC9))) == (
        "jpeg_process",
        "arithmetic coding",
    )
    assert refusal(header(segment(0xFE, length=0), filler + frame(0xC9)))[0] == "jpeg_process"


def test_a_frame_inside_a_comment_or_a_thumbnail_is_not_the_images_own() -> None:
    ordinary = encoded()
    hidden = segment(0xFE, frame(0xC3)) + segment(0xE1, b"Exif\0\0" + header(frame(0xC9)))
    assert decode.read_image_size(io.BytesIO(ordinary[:2] + hidden + ordinary[2:])) == (128, 96)
    # A frame after the end of the image, such as another image of an MPO, is never decoded.
    assert decode.verify_image(io.BytesIO(ordinary + header(frame(0xC3)))) == (128, 96)


def test_a_header_cut_before_its_frame_stays_what_it_was() -> None:
    whole = encoded()
    assert read_jpeg_frame(io.BytesIO(whole[:20]), "x") is None
    assert refusal(whole[:20])[0] in ("truncated", "unreadable")
    assert refusal(header())[0] == "unreadable"
    start = whole.index(b"\xff\xc0")
    assert refusal(whole[: start + 8])[0] == "truncated"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 2}])
def test_usual_jpegs_are_read_at_a_reduced_size(options: dict[str, Any]) -> None:
    data = encoded(SCENE.resize((512, 384)), **options)
    assert decode.read_image(io.BytesIO(data), DecodeOptions(96)).shape == (96, 128, 3)
    assert decode.read_image(io.BytesIO(encoded(SCENE.convert("CMYK"))), DecodeOptions(48)).shape == (48, 64, 3)


def test_components_that_do_not_fit_into_each_other_are_decoded_whole() -> None:
    assert JpegFrame(8, 8, ((2, 2), (1, 1), (1, 1))).can_be_reduced
    assert JpegFrame(8, 8, ((4, 1), (1, 1), (1, 1))).can_be_reduced
    assert not JpegFrame(8, 8, ((3, 1), (1, 1), (1, 1))).can_be_reduced
    data = bytearray(encoded(SCENE.convert("L").resize((512, 384))))
    assert decode.read_image(io.BytesIO(data), DecodeOptions(96)).shape[:2] == (96, 128)
    data[data.index(b"\xff\xc0") + 11] = 0x33  # a single component has no other that it must fit
    assert decode.read_image(io.BytesIO(data), DecodeOptions(96)).shape[:2] == (384, 512)


def test_a_jpeg_inside_a_tiff_is_judged_as_one_of_its_own() -> None:
    data = encoded(SCENE.resize((512, 384)), "TIFF", compression="jpeg")
    assert decode.read_image(io.BytesIO(data)).shape == (384, 512, 3)
    position = data.index(b"\xff\xc0", data.index(b"\xff\xd8"))
    for marker in (0xC3, 0xC9):
        # The strip ends behind its frame header.
        changed = data[: position + 1] + bytes((marker,)) + data[position + 2 : position + 19] + b"\xff\xd9"
        assert refusal(changed + data[len(changed) :]) == ("jpeg_process", jpeg_header.REFUSED_PROCESSES[marker])


def test_every_strip_of_a_tiff_is_looked_at_and_its_tables_hold_no_frame() -> None:
    frames = [header(frame(0xC0)), header(frame(0xC0)), header(frame(0xCB))]
    offsets = (0, len(frames[0]), len(frames[0] + frames[1]))
    tags: dict[int, Any] = {259: 7, 273: offsets, 279: tuple(map(len, frames))}
    stream = io.BytesIO(b"".join(frames))
    stream.seek(5)
    with pytest.raises(ImageError, match="arithmetic coding, lossless"):
        jpeg_header.check_tiff_jpegs(stream, tags, "x")
    stream.seek(5)
    jpeg_header.check_tiff_jpegs(stream, {**tags, 273: offsets[:2]}, "x")
    assert stream.tell() == 5
    tiles = {259: 7, 324: offsets[2], 325: len(frames[2])}
    for refused in (tiles, {259: 6, 513: offsets[2]}, {259: 6, 512: 14}, {259: 7, 347: header(frame(0xC3))}):
        with pytest.raises(ImageError, match="lossless"):
            jpeg_header.check_tiff_jpegs(stream, refused, "x")
    with pytest.raises(ImageError) as damaged:
        jpeg_header.check_tiff_jpegs(stream, {259: 7, 347: header(frame(0xC0))}, "x")
    assert damaged.value.code == "unreadable"
    jpeg_header.check_tiff_jpegs(stream, {**tags, 259: 5}, "x")
