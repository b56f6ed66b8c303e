"""How long odd pictures take, and how much memory: `python -m benchmarks.odd_pictures`.

Each kind is looked at (`decode.check`, as a scan does) and read (`decode.read`, as a training does) in a process of its
own. Prints a table in Markdown: kind, files, the most processor time that one file took, what the process held at most
beyond what it started with, and what came of it.
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

from benchmarks import odd
from benchmarks.peak import megabytes
from ftlab.core.errors import PictureError
from ftlab.data.images import decode

EACH = 300
"""Damaged files of each format."""
Kind = tuple[str, Callable[[], list[bytes]]]


def kinds() -> Iterator[Kind]:
    """Name and files of each kind."""
    by_kind: dict[str, list[bytes]] = {}
    made: list[odd.Good | odd.Bad] = [*odd.good(), *odd.bad()]
    for one in made:
        kind = f"{one.kind[:-1]}1 to 8" if "orientation" in one.kind else one.kind
        by_kind.setdefault(kind, []).append(one.content)
    for kind, contents in by_kind.items():
        yield kind, lambda contents=contents: contents  # type: ignore[misc]
    for form in dict(odd.damaged(0, 1)):
        yield f"{form}, damaged", lambda form=form: [data for one, data in odd.damaged(0, EACH) if one == form]  # type: ignore[misc]
    yield "GIF of 3000 frames", lambda: [_animated(3000, "GIF")]
    for size in (15_000_000, 150_000_000):
        yield f"PNG with {size / 1e6:.0f} MB of text", lambda size=size: [_talkative(size)]  # type: ignore[misc]
    yield from largest()


def largest() -> Iterator[Kind]:
    """Noise of nearly as many pixels as are let in, in each format: what costs most."""
    forms: dict[str, dict[str, object]] = {
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
    for form, options in forms.items():
        width, height = _most(form.partition(",")[0])

        def made(form: str = form, options: dict[str, object] = options) -> list[bytes]:
            return [odd.encoded(odd.noise(*_most(form.partition(",")[0])), form.partition(",")[0], **options)]

        yield f"{form}, noise of {width} × {height}", made


def _most(form: str) -> tuple[int, int]:
    return 8000, decode.limit_pixels(form) // 8000


def _animated(frames: int, form: str) -> bytes:
    first, *others = [Image.new("P", (64, 64), number % 256) for number in range(frames)]
    return odd.encoded(first, form, save_all=True, append_images=others, optimize=False)


def _talkative(size: int) -> bytes:
    content = odd.encoded(odd.noise(16, 16), "PNG")
    return content[:33] + odd.chunk(b"iTXt", b"k\0\0\0\0\0" + bytes(size)) + content[33:]


def measure(files: list[Path]) -> dict[str, object]:
    """In a process of its own: the most processor time in seconds, the most memory in MB, and the outcomes."""
    with open(files[0], "rb") as stream:
        stream.read(1)
    start = megabytes()
    worst, outcomes = 0.0, Counter[str]()
    for file in files:
        for look in (decode.check, decode.read):
            began = time.process_time()
            try:
                look(file)
                outcome = "read"
            except PictureError as refusal:
                outcome = refusal.code
            worst = max(worst, time.process_time() - began)
        outcomes[outcome] += 1
    return {"seconds": worst, "megabytes": megabytes() - start, "outcomes": outcomes}


def main() -> None:
    print("| kind | files | most time | peak memory | outcome |")
    print("|---|---:|---:|---:|---|")
    for kind, make in kinds():
        with TemporaryDirectory() as folder:
            contents = make()
            for number, content in enumerate(contents):
                (Path(folder) / f"{number:04d}.jpg").write_bytes(content)
            count = len(contents)
            del contents
            words = [sys.executable, "-m", "benchmarks.odd_pictures", folder]
            done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=600)
            found = json.loads(done.stdout)
        outcomes = sorted(found["outcomes"].items())
        told = ", ".join(f"{code} {many}" if len(outcomes) > 1 else code for code, many in outcomes)
        print(f"| {kind} | {count} | {found['seconds']:.3f} s | {found['megabytes']:.0f} MB | {told} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sorted(Path(sys.argv[1]).iterdir()))))
    else:
        main()
