"""Which of many files can be decoded: every one tried, cheaply, in threads. No torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ftlab.data import decode
from ftlab.data.listing import Pictures, Problem
from ftlab.errors import PictureError

Progress = Callable[[int, int], None]
"""Told how many are done, and how many there are."""


def sieve(
    root: Path, found: dict[str, Pictures], workers: int | None = None, progress: Progress | None = None
) -> tuple[list[tuple[int, int]], list[Problem]]:
    """Take the pictures out of `found` that cannot be decoded.

    Args:
        root: what the paths in `found` are relative to.
        found: pictures by split; changed in place.
        workers: threads; None: one a core, at most 8.
        progress: called in this thread after each file.

    Returns:
        Width and height of each that stays, and what is wrong with each that goes, both in the order of `found`.
    """

    def one(path: str) -> tuple[int, int] | Problem:
        try:
            return decode.check(root / path)
        except PictureError as error:
            values = {name: value for name, value in error.values.items() if isinstance(value, (str, int))}
            return Problem(path, error.code, {name: values[name] for name in values if name != "file"})

    places = [(pictures, path) for classes in found.values() for pictures in classes.values() for path in pictures]
    sizes: list[tuple[int, int]] = []
    problems: list[Problem] = []
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1), "check") as pool:
        # In bites, so that a large folder does not become a large queue, and an interruption is obeyed soon.
        for start in range(0, len(places), 256):
            bite = places[start : start + 256]
            told = pool.map(one, [path for _, path in bite])
            for done, ((pictures, path), outcome) in enumerate(zip(bite, told, strict=True), start + 1):
                if isinstance(outcome, Problem):
                    problems.append(outcome)
                    del pictures[path]
                else:
                    sizes.append(outcome)
                if progress:
                    progress(done, len(places))
    return sizes, problems
