"""Disk space that uploads may take."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ftlab.core import file_io
from ftlab.server import upload_quota
from ftlab.server.upload_quota import QuotaExceededError, UploadQuota, sweep_uploads

MEGABYTE = 1_000_000


def use(quota: UploadQuota, byte_count: int, visitor: str = "", *, is_used: bool = True) -> str:
    """Reserve and write: the reason of a refusal, empty for none."""
    assert quota.uploads_dir is not None
    try:
        with quota.reserve(byte_count, visitor) as reservation:
            (quota.uploads_dir / f"{time.monotonic_ns()}-{threading.get_ident()}").write_bytes(
                bytes(byte_count * is_used)
            )
            reservation.is_used = is_used
    except QuotaExceededError as refusal:
        return refusal.message_key
    return ""


def test_of_twelve_uploads_at_once_as_many_pass_as_there_is_room_for(tmp_path: Path) -> None:
    quota, barrier = UploadQuota(tmp_path, quota_bytes=2 * MEGABYTE), threading.Barrier(12)

    def send(_number: int) -> str:
        barrier.wait()
        return use(quota, MEGABYTE)

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(send, range(12)))
    assert sorted(answers) == ["", "", *["full"] * 10]
    assert quota.measure_used_bytes() == 2 * MEGABYTE


def test_requests_and_unpacking_share_the_space(tmp_path: Path) -> None:
    requests, unpacking = (UploadQuota(tmp_path, tmp_path / "unpacked", quota_bytes=MEGABYTE) for _ in range(2))
    with requests.reserve(MEGABYTE // 2):
        assert use(unpacking, MEGABYTE // 2 + 1) == "full"
        assert use(unpacking, MEGABYTE // 2) == ""


def test_what_was_not_used_is_free_again(tmp_path: Path) -> None:
    quota = UploadQuota(tmp_path, quota_bytes=MEGABYTE, visitor_quota_bytes=MEGABYTE)
    for _ in range(3):
        assert use(quota, MEGABYTE, "ada", is_used=False) == ""
    with pytest.raises(ZeroDivisionError), quota.reserve(MEGABYTE, "ada"):
        raise ZeroDivisionError
    with quota.reserve(MEGABYTE // 2, "bob"):  # somebody else is at work all the time
        assert [use(quota, MEGABYTE // 2, "ada", is_used=False) for _ in range(3)] == [""] * 3


def test_a_disk_without_room_takes_no_upload_whatever_the_quota_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = UploadQuota(tmp_path / "not made yet" / "uploads")
    quota.check_free_space(MEGABYTE)
    monkeypatch.setattr(file_io, "get_free_bytes", lambda _folder: upload_quota.MIN_FREE_BYTES + MEGABYTE)
    quota.check_free_space(MEGABYTE)
    with pytest.raises(QuotaExceededError) as caught:
        quota.check_free_space(MEGABYTE + 1)
    assert caught.value.message_key == "full"
    UploadQuota().check_free_space(MEGABYTE + 1)


def test_files_that_are_gone_count_no_longer_even_while_others_write(tmp_path: Path) -> None:
    quota = UploadQuota(tmp_path, quota_bytes=MEGABYTE)
    with quota.reserve(1000):
        assert use(quota, MEGABYTE // 2) == ""
        assert use(quota, MEGABYTE // 2) == "full"
        for file in tmp_path.glob("*-*"):
            file.unlink()
        assert use(quota, MEGABYTE // 2) == ""


def test_the_folder_is_walked_for_some_uploads_only_but_before_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[Path] = []

    def count_sweep(folder: Path) -> int:
        walks.append(folder)
        return sweep_uploads(folder)

    monkeypatch.setattr(upload_quota, "sweep_uploads", count_sweep)
    quota = UploadQuota(tmp_path, quota_bytes=4 * MEGABYTE)
    assert [use(quota, MEGABYTE) for _ in range(4)] == [""] * 4
    assert len(walks) == 1
    assert use(quota, MEGABYTE) == "full"
    for file in list(tmp_path.iterdir())[:2]:
        file.unlink()
    assert use(quota, MEGABYTE) == "", "what is gone counts no longer"
    assert len(walks) == 3


def test_each_visitor_has_a_share_of_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quota = UploadQuota(tmp_path, quota_bytes=10 * MEGABYTE, visitor_quota_bytes=MEGABYTE)
    assert use(quota, MEGABYTE, "ada") == ""
    assert use(quota, 1, "ada") == "share"
    assert use(quota, MEGABYTE, "bob") == ""
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + upload_quota.VISITOR_PERIOD_SECONDS + 1)
    assert use(quota, MEGABYTE, "ada") == ""


def test_empty_files_that_gradio_leaves_behind_are_swept_and_others_counted(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    left, new, kept = tmp_path / "tmpold", tmp_path / "tmpnew", tmp_path / "ab" / "picture.jpg"
    left.touch()
    new.touch()
    kept.write_bytes(b"x" * 321)
    os.utime(left, (time.time() - 3600,) * 2)
    assert sweep_uploads(tmp_path) == 321
    assert [left.exists(), new.exists(), kept.exists()] == [False, True, True]
