"""Small JPEGs are read as a whole; what is said of them, and of every damage to them, stays the same."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from PIL import Image

from ftlab.core.errors import ImageError
from ftlab.data.images import decode, decode_limits


def encode_jpeg(*, progressive: bool) -> bytes:
    stream = io.BytesIO()
    noise = Image.frombytes("RGB", (72, 56), random.Random(1).randbytes(72 * 56 * 3))
    noise.save(
        stream, "JPEG", quality=60, progressive=progressive, comment=b"text", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"
    )
    return stream.getvalue()


def damaged_variants(content: bytes) -> list[bytes]:
    """Cut, padded, doubled, and with single bytes changed, most of them in the header."""
    rng = random.Random(2)
    cuts = [content[:length] for length in (2, 3, 20, 160, 400, 700, len(content) // 2, len(content) - 2)]
    changed = []
    for _ in range(150):
        position = rng.randrange(700) if rng.random() < 0.8 else rng.randrange(len(content))
        changed.append(content[:position] + rng.randbytes(1) + content[position + 1 :])
    fill = content[:2] + b"\xff" * 5000 + content[2:]
    passes = content[:-2] + content[content.index(b"\xff\xda") :] * 3
    return [content, *cuts, *changed, fill, passes, content * 2, content + bytes(1000)]


def describe_outcome(source: Path | io.BytesIO) -> object:
    try:
        return decode.verify_image(source), decode.read_image(source).tobytes()
    except ImageError as error:
        return error.code, {name: str(value) for name, value in error.values.items()}


@pytest.mark.parametrize("progressive", [False, True])
def test_the_same_damage_is_found_in_memory_as_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, progressive: bool
) -> None:
    variants = damaged_variants(encode_jpeg(progressive=progressive))
    files = [tmp_path / f"{index}.jpg" for index in range(len(variants))]
    for file, variant in zip(files, variants, strict=True):
        file.write_bytes(variant)
    outcomes = [*map(describe_outcome, files), *(describe_outcome(io.BytesIO(variant)) for variant in variants)]
    monkeypatch.setattr(decode_limits, "SMALL_JPEG_BYTES", 0)
    expected = [*map(describe_outcome, files), *(describe_outcome(io.BytesIO(variant)) for variant in variants)]
    assert outcomes == expected
    assert 10 < sum(isinstance(outcome[0], str) for outcome in expected) < len(expected) - 10  # type: ignore[index]


def test_passes_are_counted_unless_the_file_is_too_short_for_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode_jpeg(progressive=True)
    monkeypatch.setattr(decode_limits, "MAX_JPEG_MEGAPIXEL_PASSES", 72 * 56 * 12 / 1_000_000)
    assert decode.verify_image(io.BytesIO(content)) == (72, 56)
    with pytest.raises(ImageError) as refused:
        decode.verify_image(io.BytesIO(content + b"\xff\xda" * 20))
    assert refused.value.code == "tangled"
