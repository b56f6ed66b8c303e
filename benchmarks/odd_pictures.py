"""Time and memory of odd images: `python -m benchmarks.odd_pictures`.

Each kind is verified (`decode.verify_image`, as a scan does) and decoded (`decode.read_image`, as a training does) in a
process of its own. Prints a Markdown table: kind, files, the most CPU time that one file took, the peak memory beyond
that at the start, and the outcomes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from benchmarks import odd, odd_invalid
from benchmarks.peak import measure_peak_megabytes
from ftlab.core.errors import ImageError
from ftlab.data.images import decode

DAMAGED_PER_FORMAT = 300
"""Damaged files of each format."""
ImageKind = tuple[str, Callable[[], list[bytes]]]
"""Name of a kind, and a function that returns its files."""


def iterate_kinds() -> Iterator[ImageKind]:
    """Yield each kind."""
    by_kind: dict[str, list[bytes]] = {}
    samples: list[odd.ValidImage | odd_invalid.InvalidImage] = [
        *odd.make_valid_images(),
        *odd_invalid.make_invalid_images(),
    ]
    for item in samples:
        kind = f"{item.kind[:-1]}1 to 8" if "orientation" in item.kind else item.kind
        # The eight orientations are one kind of the table.
        by_kind.setdefault(kind, []).append(item.content)
    for kind, contents in by_kind.items():
        yield kind, lambda contents=contents: contents  # type: ignore[misc]
    for image_format in dict(odd_invalid.make_damaged_images(0, 1)):
        yield (
            f"{image_format}, damaged",
            lambda image_format=image_format: [  # type: ignore[misc]
                data for item, data in odd_invalid.make_damaged_images(0, DAMAGED_PER_FORMAT) if item == image_format
            ],
        )
    yield "GIF of 3000 frames", lambda: [_encode_animation(3000, "GIF")]
    for size in (15_000_000, 150_000_000):
        yield f"PNG with {size / 1e6:.0f} MB of text", lambda size=size: [_encode_long_text(size)]  # type: ignore[misc]
    yield from iterate_largest()


def iterate_largest() -> Iterator[ImageKind]:
    """Yield noise of nearly as many pixels as are allowed, in each format: the most expensive content."""
    format_options: dict[str, dict[str, object]] = {
        "JPEG": {"quality": 90},
        "JPEG, progressive": {"quality": 90, "progressive": True},
        "PNG": {"compress_level": 1},
        "GIF": {},
        "BMP": {},
        "TIFF": {},
        "TIFF, LZW": {"compression": "tiff_lzw"},
        "WEBP": {"quality": 80, "method": 0},
        "WEBP, lossless": {"lossless": True, "method": 0, "quality": 0},
        "AVIF": {"speed": 10, "quality": 80},
    }
    for image_format, options in format_options.items():
        width, height = _max_size(image_format.partition(",")[0])

        def encode_noise(image_format: str = image_format, options: dict[str, object] = options) -> list[bytes]:
            return [
                odd.encode_image(
                    odd.draw_noise(*_max_size(image_format.partition(",")[0])),
                    image_format.partition(",")[0],
                    **options,
                )
            ]

        yield f"{image_format}, noise of {width} × {height}", encode_noise


def _max_size(image_format: str) -> tuple[int, int]:
    """Return width and height of the largest image of a format that is allowed."""
    return 8000, decode.get_max_pixels(image_format) // 8000


def _encode_animation(frame_count: int, image_format: str) -> bytes:
    """Return an animation of small frames."""
    first_frame, *other_frames = [Image.new("P", (64, 64), index % 256) for index in range(frame_count)]
    return odd.encode_image(first_frame, image_format, save_all=True, append_images=other_frames, optimize=False)


def _encode_long_text(size: int) -> bytes:
    """Return a PNG with a text chunk of `size` bytes."""
    content = odd.encode_image(odd.draw_noise(16, 16), "PNG")
    return content[:33] + odd.make_png_chunk(b"iTXt", b"k\0\0\0\0\0" + bytes(size)) + content[33:]


def measure_files(files: list[Path]) -> dict[str, object]:
    """Verify and decode files; run in a process of its own, as its memory can only grow.

    Args:
        files: files of one kind.

    Returns:
        `seconds` of CPU time at most, peak `megabytes`, and `outcomes` by error code.
    """
    with files[0].open("rb") as stream:
        stream.read(1)  # buffers of the first read must not count
    # A peak never falls, so only what exceeds it is seen.
    start_megabytes = measure_peak_megabytes()
    max_seconds, outcomes = 0.0, Counter[str]()
    for file in files:
        for operation in (decode.verify_image, decode.read_image):
            start_time = time.process_time()
            try:
                operation(file)
                outcome = "read"
            except ImageError as error:
                outcome = error.code
            max_seconds = max(max_seconds, time.process_time() - start_time)
        outcomes[outcome] += 1
    return {"seconds": max_seconds, "megabytes": measure_peak_megabytes() - start_megabytes, "outcomes": outcomes}


def main() -> None:
    """Measure each kind and print its row."""
    print("| kind | files | most time | peak memory | outcome |")
    print("|---|---:|---:|---:|---|")
    for kind, make_files in iterate_kinds():
        with TemporaryDirectory() as folder:
            contents = make_files()
            for index, content in enumerate(contents):
                (Path(folder) / f"{index:04d}.jpg").write_bytes(content)
            file_count = len(contents)
            del contents  # up to hundreds of megabytes, which the child process needs
            # A process for each kind, as a peak of memory cannot be reset.
            command = [sys.executable, "-m", "benchmarks.odd_pictures", folder]
            completed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
            result = json.loads(completed.stdout)
        outcomes = sorted(result["outcomes"].items())
        outcome_text = ", ".join(
            f"{code} {occurrences}" if len(outcomes) > 1 else code for code, occurrences in outcomes
        )
        print(
            f"| {kind} | {file_count} | {result['seconds']:.3f} s | {result['megabytes']:.0f} MB | {outcome_text} |",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure_files(sorted(Path(sys.argv[1]).iterdir()))))
    else:
        main()
