"""Verifying many files: requests of a reasonable size, and nobody waits for what could be done meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.data.dataset import verify
from ftlab.data.dataset.verified_cache import VerifiedCache
from ftlab.data.isolation import isolated

Requests = list[list[str]]


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Requests:
    """Requests to the worker processes, which find every file intact."""
    made: Requests = []

    def note_request(files: list[str]) -> list[tuple[int, int]]:
        made.append([Path(file).name for file in files])
        return [(8, 6)] * len(files)

    monkeypatch.setattr(isolated, "verify_images", note_request)
    return made


def verify_sizes(folder: Path, sizes: list[int], cache: VerifiedCache | None = None) -> list[tuple[int, int]]:
    images = {f"{index}.jpg": size for index, size in enumerate(sizes)}
    found, problems = verify.verify_images(folder, {"train": {"a": images}}, 1, None, cache)
    assert not problems
    return found


def test_small_files_are_asked_for_together_and_large_ones_alone(tmp_path: Path, requests: Requests) -> None:
    sizes = [10_000] * 40 + [5_000_000, 5_000_000] + [300_000] * 4
    assert len(verify_sizes(tmp_path, sizes)) == len(sizes)
    assert list(map(len, requests)) == [32, 8, 1, 1, 3, 1]
    assert [name for request in requests for name in request] == [f"{index}.jpg" for index in range(len(sizes))]


def test_the_workers_have_the_next_files_before_the_last_results_are_stored(
    tmp_path: Path, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests_at_storing: list[int] = []
    monkeypatch.setattr(verify, "_FILES_PER_BATCH", 4)

    class NotingCache(VerifiedCache):
        def __init__(self) -> None:
            self.submitted = 0

        def compute_keys(self, files: list[str]) -> list[bytes | None]:  # type: ignore[override]
            self.submitted += len(files)
            return [file.encode() for file in files]

        def get(self, keys: list[bytes | None]) -> list[tuple[int, int] | None]:  # type: ignore[override]
            return [None] * len(keys)

        def put(self, sizes: list[tuple[bytes, tuple[int, int]]]) -> None:  # type: ignore[override]
            requests_at_storing.append(self.submitted)
            assert [size for _, size in sizes] == [(8, 6)] * len(sizes)

    verify_sizes(tmp_path, [10] * 12, NotingCache())
    assert requests_at_storing == [8, 12, 12]
    assert len(requests) == 3
