"""Which of many files can be decoded: every one tried, cheaply, in threads. No torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from ftlab.core.errors import PictureError
from ftlab.data.dataset.verified_cache import Known
from ftlab.data.images import decode
from ftlab.data.sources.listing import Pictures, Problem

_BITE = 2048
"""Files at a time, so that a large folder does not become a large queue."""
Progress = Callable[[int, int], None]
"""Told how many are done, and how many there are."""


def sieve(
    root: Path,
    found: dict[str, Pictures],
    workers: int | None = None,
    progress: Progress | None = None,
    known: Known | None = None,
) -> tuple[list[tuple[int, int]], list[Problem]]:
    """Take the pictures out of `found` that cannot be decoded.

    Args:
        root: what the paths in `found` are relative to.
        found: pictures by split; changed in place.
        workers: threads; None: one a core, at most 8.
        progress: called in this thread after each file. What it raises ends the work soon, and is raised.
        known: what need not be tried, and where the others are put.

    Returns:
        Width and height of each that stays, and what is wrong with each that goes, both in the order of `found`.
    """
    base = os.path.abspath(root)
    places = [(pictures, path) for classes in found.values() for pictures in classes.values() for path in pictures]
    sizes: list[tuple[int, int]] = []
    problems: list[Problem] = []
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1), "check") as pool:
        for start in range(0, len(places), _BITE):
            bite = places[start : start + _BITE]
            with closing(_outcomes(base, [path for _, path in bite], pool, known)) as told:
                for done, ((pictures, path), outcome) in enumerate(zip(bite, told, strict=True), start + 1):
                    if isinstance(outcome, Problem):
                        problems.append(outcome)
                        del pictures[path]
                    else:
                        sizes.append(outcome)
                    if progress:
                        progress(done, len(places))
    return sizes, problems


def _outcomes(
    base: str, paths: Sequence[str], pool: ThreadPoolExecutor, known: Known | None
) -> Generator[tuple[int, int] | Problem, None, None]:
    """What comes of each file. At the end, whenever that is, the rest is not tried, and what was is kept."""
    files = [os.path.join(base, path) for path in paths]
    keys = known.keys(files) if known else [None] * len(files)
    sizes = known.get(keys) if known else [None] * len(files)
    tried = {at: pool.submit(_tried, paths[at], files[at]) for at, size in enumerate(sizes) if size is None}
    new: list[tuple[bytes, tuple[int, int]]] = []
    try:
        for key, (at, size) in zip(keys, enumerate(sizes), strict=True):
            outcome = size or tried.pop(at).result()
            if key and size is None and not isinstance(outcome, Problem):
                new.append((key, outcome))
            yield outcome
    finally:
        for waiting in tried.values():
            waiting.cancel()
        if known:
            known.put(new)


def _tried(path: str, file: str) -> tuple[int, int] | Problem:
    """What comes of a file; `path` as it is called in the folder."""
    try:
        return decode.check(file)
    except PictureError as error:
        values = {name: value for name, value in error.values.items() if isinstance(value, (str, int))}
        return Problem(path, error.code, {name: values[name] for name in values if name != "file"})
