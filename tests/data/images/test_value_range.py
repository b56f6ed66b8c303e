"""Pictures of more than 8 bits: whatever they use of their bits, they are seen from black to white."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from ftlab.core.errors import ImageError
from ftlab.data.images import convert_rgb, decode, value_range
from ftlab.data.images.decode_options import DecodeOptions, ValueRange, ValueRanges
from tests.support.deep_files import AVIF_RAMPS, Samples, make_png, make_pnm, make_tiff, ramp

LEVELS = np.rint(np.linspace(0, 1, 32) * 255)
"""What a ramp of 32 pixels looks like."""
TWELVE_BITS = DecodeOptions(value_ranges=ValueRanges(uint16=ValueRange(0, 4095)))
ORDERS: tuple[Literal["<", ">"], ...] = ("<", ">")
OF_OLD_RUNS = DecodeOptions(value_ranges=None)


def read(data: bytes, options: DecodeOptions = DecodeOptions()) -> Samples:
    return decode.read_image(io.BytesIO(data), options)


def estimated(*files: bytes) -> ValueRanges:
    return value_range.estimate_ranges(filter(None, (decode.read_sample_stats(io.BytesIO(data)) for data in files)))


def opaque(samples: Samples, alpha: int = 65535) -> Samples:
    return np.concatenate([samples, np.full((*samples.shape[:2], 1), alpha, samples.dtype)], axis=2)


# One picture by itself


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_gray_that_uses_fewer_bits_is_seen_in_full(bits: int) -> None:
    samples = ramp(2**bits - 1)
    seen = read(make_png(samples))[0, :, 0]
    np.testing.assert_array_equal(seen, np.rint(samples[0, :, 0] / (2**bits - 1) * 255))
    assert (seen.min(), seen.max()) == (0, 255)


@pytest.mark.parametrize("options", [DecodeOptions(), TWELVE_BITS], ids=["estimated", "known"])
@pytest.mark.parametrize(
    "data",
    [
        make_png(ramp(4095, channels=3)),
        make_png(opaque(ramp(4095, channels=3))),
        make_png(opaque(ramp(4095, channels=3), 4095)),
        make_png(opaque(ramp(4095))),
        make_tiff(opaque(ramp(4095, channels=3)), photometric=2, extra=(1,)),
        *(
            make_tiff(ramp(4095, channels=3), photometric=2, order=order, separate=separate, compressed=compressed)
            for order in ORDERS
            for separate, compressed in ((False, False), (False, True), (True, False))
        ),
    ],
)
def test_color_of_16_bits_keeps_its_low_bits(data: bytes, options: DecodeOptions) -> None:
    seen = read(data, options)
    np.testing.assert_array_equal(seen[0, :, 0], np.rint(ramp(4095)[0, :, 0] / 4095 * 255))
    np.testing.assert_array_equal(seen[..., 0], seen[..., 2])


def test_full_color_and_full_gray_are_as_they_were_before_ranges() -> None:
    rng = np.random.default_rng(0)
    color = rng.integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    for data in (make_png(color), make_png(color[..., :1]), make_tiff(color, photometric=2), make_png(opaque(color))):
        whole = DecodeOptions(value_ranges=estimated(data))
        np.testing.assert_array_equal(read(data, whole), read(data, OF_OLD_RUNS))
    for data in (make_tiff(color, photometric=2, separate=True), make_pnm(color)):
        np.testing.assert_array_equal(read(data), color >> 8)
    np.testing.assert_array_equal(read(make_png(color[..., :1]))[..., 0], np.rint(color[..., 0] / 257))
    np.testing.assert_array_equal(read(make_png(color)), color >> 8)


def test_a_run_without_ranges_sees_deep_pictures_as_it_was_trained() -> None:
    assert read(make_png(ramp(4095)), OF_OLD_RUNS).max() == 16
    assert read(make_png(ramp(4095, channels=3)), OF_OLD_RUNS).max() == 15


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("samples", "sample_format"),
    [
        (ramp(255, dtype=np.uint8), 1),
        (ramp(4095), 1),
        (ramp(4095, dtype=np.int16), 2),
        (ramp(4095, dtype=np.uint32), 1),
        (ramp(4e9, dtype=np.uint32), 1),
        (ramp(4095, dtype=np.int32), 2),
        (ramp(1, dtype=np.float32), 3),
    ],
    ids=["uint8", "uint16", "int16", "uint32", "large uint32", "int32", "float32"],
)
def test_black_is_dark_whether_it_is_zero_or_not(
    samples: Samples, sample_format: int, order: str, *, compressed: bool
) -> None:
    how: dict[str, Any] = {"order": order, "sample_format": sample_format, "compressed": compressed}
    seen = read(make_tiff(samples, photometric=1, **how))[0, :, 0].astype(int)
    assert np.abs(seen - LEVELS).max() <= 1
    inverted = read(make_tiff(samples, photometric=0, **how))[0, :, 0]
    np.testing.assert_array_equal(inverted, 255 - seen)


def test_twelve_bits_that_a_tiff_packs_are_twelve_bits_beside_others_of_16() -> None:
    data = make_tiff(ramp(0, dtype=np.uint8), shorts={258: 12})  # 32 × 32 × 12 bits need 1.5 bytes a pixel
    packed = make_tiff(np.full((32, 48, 1), 255, np.uint8), shorts={258: 12, 256: 32})
    everything = DecodeOptions(value_ranges=ValueRanges(uint16=ValueRange(0, 65535)))
    assert read(packed, everything).min() == 255
    with pytest.raises(ImageError):
        read(data)


def test_a_transparent_color_of_16_bits_lies_on_white() -> None:
    samples = ramp(4095, channels=3)
    assert read(make_png(samples, transparent=(0, 0, 0)))[0, 0].tolist() == [255, 255, 255]
    half = read(make_png(opaque(np.zeros((2, 2, 3), np.uint16), 32768)), TWELVE_BITS)
    assert half[0, 0].tolist() == [127, 127, 127]


def test_a_large_deep_picture_converted_in_bands_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    files = [make_png(rng.integers(0, 4096, (40, 30, channels)).astype(np.uint16)) for channels in (1, 2, 3, 4)]
    files.append(make_tiff(rng.normal(size=(40, 30, 1)).astype(np.float32), sample_format=3))
    whole = [read(data) for data in files]
    monkeypatch.setattr(convert_rgb, "CONVERT_BAND_PIXELS", 100)
    monkeypatch.setattr(value_range, "BAND_PIXELS", 100)
    for data, pixels in zip(files, whole, strict=True):
        np.testing.assert_allclose(read(data), pixels, atol=1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("white", [600, 4095, 65535])
def test_a_pgm_or_ppm_is_white_where_it_says_so_or_at_the_values_it_uses(channels: int, white: int) -> None:
    data = make_pnm(ramp(min(white, 4095), channels=channels), white)
    with_range = read(data, DecodeOptions(value_ranges=estimated(data)))
    for seen in (read(data), with_range):
        assert np.abs(seen[0, :, 0] - LEVELS).max() <= 1
    assert decode.verify_image(io.BytesIO(data)) == (32, 32)
    with pytest.raises(ImageError):
        decode.verify_image(io.BytesIO(data[:-1]))


@pytest.mark.parametrize("options", [DecodeOptions(), OF_OLD_RUNS])
def test_a_large_ppm_of_any_white_is_no_bomb(options: DecodeOptions) -> None:
    header = b"P6 700 500 100 "  # 350,000 pixels: more than a decoder may read one by one
    seen = read(header + bytes((0, 50, 100)) * 350_000, options)
    assert seen.reshape(-1, 3)[-1].tolist() == [0, 128, 255]


@pytest.mark.parametrize("bits", AVIF_RAMPS)
def test_an_avif_of_more_than_8_bits_has_all_its_tones(bits: int) -> None:
    data = base64.b64decode(AVIF_RAMPS[bits])
    for options in (DecodeOptions(), TWELVE_BITS, OF_OLD_RUNS):
        seen = read(data, options)
        assert seen.shape == (32, 32, 3)
        assert np.abs(seen[0].astype(int) - LEVELS[:, None]).max() <= 1
    assert not estimated(data), "it is decoded to 8 bits, whatever range the others of a data set have"


def test_16_bits_with_a_sign_are_white_at_their_largest_value() -> None:
    data = make_tiff(ramp(32767, dtype=np.int16), sample_format=2)
    assert estimated(data).int32 == ValueRange(0, 32767)


# A data set


def test_all_pictures_of_a_data_set_share_one_range() -> None:
    assert estimated(make_png(ramp(900)), make_png(ramp(4000)), make_png(ramp(20))).uint16 == ValueRange(0, 4095)
    dark = read(make_png(ramp(1023)), TWELVE_BITS)
    assert dark.max() == 64


@pytest.mark.parametrize(
    ("high", "white"),
    [
        *((255, 255), (256, 1023), (1023, 1023), (1024, 4095), (4095, 4095), (4096, 16383), (16383, 16383)),
        *((16384, 65535), (20_000, 65535), (32767, 65535), (40_000, 65535), (65535, 65535)),
    ],
)
@pytest.mark.parametrize("make", [make_png, lambda samples: make_tiff(samples)], ids=["PNG", "TIFF"])
def test_values_of_bits_that_no_file_declares_get_the_next_usual_number_of_bits(
    high: int, white: int, make: Callable[[Samples], bytes]
) -> None:
    files = make(ramp(high)), make(ramp(high // 2))
    found = estimated(*files)
    assert found == ValueRanges(uint16=ValueRange(0, white))
    seen = read(files[1], DecodeOptions(value_ranges=found))
    assert seen.max() == round(high // 2 / white * 255), "as dark beside the other as it was taken"


def test_each_kind_of_sample_has_a_range_of_its_own_and_8_bits_have_none() -> None:
    stream = io.BytesIO()
    Image.new("L", (4, 4), 7).save(stream, "PNG")
    found = estimated(
        stream.getvalue(),
        make_png(ramp(4095)),
        make_tiff(ramp(1, dtype=np.float32), sample_format=3),
        make_tiff(ramp(1000, dtype=np.int32) - 1000, sample_format=2),
    )
    assert found == ValueRanges(ValueRange(0, 4095), ValueRange(-1000, 0), ValueRange(0, 1))
    assert not estimated(stream.getvalue())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.5, 0.9], (0, 1)),
        ([-0.02, 0.5, 1.03], (0, 1)),
        ([0, 100, 250], (0, 255)),
        ([0, 3000, 4000], (0, 4095)),
        ([0, 30_000, 60_000], (0, 65535)),
        ([-1.5, 0, 2.5], (-1.5, 2.5)),
        ([0, 0.01, 0.02], (0, 0.02)),
        ([0, 5, 10], (0, 10)),
        ([2100, 2300, 2500], (2100, 2500)),
        ([np.nan, np.inf, -np.inf, -9999, 0.2, 0.8], (0, 1)),
        ([-3.4e38, 3.4028235e38, -1e30, 9.96921e36, 1e20, 0.2, 0.8], (0, 1)),
        ([np.nan, np.nan], (0, 1)),
    ],
)
def test_floats_fill_a_usual_scale_or_their_own_range(values: list[float], expected: tuple[float, float]) -> None:
    samples = np.array(values, np.float32)[None, :, None]
    found = estimated(make_tiff(samples, sample_format=3)).float32
    assert found
    assert (found.low, found.high) == pytest.approx(expected)


def test_a_few_values_far_off_do_not_darken_the_floats() -> None:
    samples = np.random.default_rng(0).uniform(5, 15, (64, 64, 1)).astype(np.float32)
    samples[0, 0], samples[1, 1] = 1e6, -1e6
    found = estimated(make_tiff(samples, sample_format=3)).float32
    assert found
    assert 4 < found.low < found.high < 16


def test_values_that_are_not_numbers_are_black() -> None:
    samples = np.array([[np.nan, np.inf, -np.inf, -3.4e38, 1e30, -100, 100]], np.float32)[..., None]
    assert read(make_tiff(samples, sample_format=3))[0, :, 0].tolist() == [0, 0, 0, 0, 0, 0, 255]


@pytest.mark.parametrize(
    ("others", "mark_share", "high"),
    [
        (ramp(3000, side=48), 0.2, 4095),
        (ramp(3000, side=48), 0.0005, 65535),  # hot pixels
        (ramp(60_000, side=48), 0.2, 65535),  # a bright sky
        (np.zeros((48, 48, 1), np.uint16), 0.5, 65535),  # a drawing
    ],
    ids=["no data", "hot pixel", "sky", "drawing"],
)
def test_the_largest_value_of_the_type_is_no_measurement_far_above_others(
    others: Samples, mark_share: float, high: float
) -> None:
    samples = others.copy()
    samples.reshape(-1)[: max(1, int(mark_share * samples.size))] = 65535
    assert estimated(make_png(samples)).uint16 == ValueRange(0, high)


# What a file declares


@pytest.mark.parametrize(
    ("samples", "bits", "expected"),
    [
        (ramp(4095), 12, 4095),  # declared, and not scaled
        (ramp(1000), 12, 4095),
        (ramp(2000), 11, 2047),
        (ramp(4095) << 4, 12, 65535),  # scaled, as the specification wants
        (ramp(200) << 4, 12, 65535),
        (ramp(4095) << 4 | ramp(4095) >> 8, 12, 65535),
        (ramp(60_000), 16, 65535),
    ],
)
def test_significant_bits_of_a_png_are_respected(samples: Samples, bits: int, expected: float) -> None:
    assert estimated(make_png(samples, significant_bits=bits)).uint16 == ValueRange(0, expected)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({281: 3000}, (0, 3000)),
        ({280: 100, 281: 3000}, (0, 4095)),  # 0 occurs: the declaration is wrong
        ({281: 900}, (0, 4095)),  # 2000 occurs
        ({281: 65535}, (0, 4095)),  # the default of the tag states nothing
        ({341: 5000}, (0, 5000)),
    ],
)
def test_sample_values_of_a_tiff_are_respected(tags: dict[int, int], expected: tuple[float, float]) -> None:
    assert estimated(make_tiff(ramp(2000), shorts=tags)).uint16 == ValueRange(*expected)


def test_extremes_that_each_file_declares_for_itself_are_extremes_of_the_bits() -> None:
    found = estimated(make_tiff(ramp(2000), shorts={281: 2000}), make_tiff(ramp(3000), shorts={281: 3000}))
    assert found.uint16 == ValueRange(0, 4095)
