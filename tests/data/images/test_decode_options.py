"""Options of decoding: what travels to worker processes and with the weights."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from ftlab.data.images import decode, decode_options
from ftlab.data.images.decode_options import DecodeOptions, ValueRange, ValueRanges


@pytest.mark.parametrize(
    "options",
    [
        DecodeOptions(),
        DecodeOptions(300, exact=True, value_ranges=None),
        DecodeOptions(value_ranges=ValueRanges(uint16=ValueRange(0, 4095), float32=ValueRange(-1.5, 2.25))),
    ],
    ids=["default", "of a run without ranges", "with ranges"],
)
def test_options_arrive_unchanged_in_another_process(options: DecodeOptions) -> None:
    assert decode_options.options_from_json(json.loads(json.dumps(options.to_json()))) == options


def test_exact_decoding_keeps_every_pixel_of_a_large_jpeg() -> None:
    y, x = np.mgrid[:1100, :1200]
    stream = io.BytesIO()
    Image.fromarray(np.stack([x % 256, y % 256, (x + y) % 256], -1).astype(np.uint8)).save(stream, "JPEG")
    assert decode.read_image(stream).shape == (550, 600, 3)
    np.testing.assert_array_equal(decode.read_image(stream, DecodeOptions(exact=True)), np.asarray(Image.open(stream)))
