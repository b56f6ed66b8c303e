"""Files that make the decoder crash, hang or take all memory: each is named, the others are read, nobody else ends."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftlab.core.errors import ImageError
from ftlab.data.dataset import scan, verified_cache
from ftlab.data.images import decode
from ftlab.data.images.decode_options import DecodeOptions
from ftlab.data.isolation import isolated, thumbnails, worker_pool, worker_process
from ftlab.data.isolation.worker_pool import WorkerPool
from tests.support import drawn_images
from tests.support.faults import rename_images

Codes = dict[str, str]


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool(2)
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return drawn_images.tiny(tmp_path / "pictures")


def codes(files: list[Path], results: list[object]) -> Codes:
    return {
        file.stem: result.code for file, result in zip(files, results, strict=True) if isinstance(result, ImageError)
    }


@pytest.mark.usefixtures("faulty_decoder")
def test_only_the_guilty_are_named_whatever_they_do(folder: Path, pool: WorkerPool) -> None:
    renamed = rename_images(folder, "aborts", "hangs", "eats", "poisons")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    expected = {
        "aborts": "decoder_crashed",
        "hangs": "decoder_hung",
        "eats": "decoder_memory",
        "poisons": "decoder_crashed",
    }
    results = pool.decode("verify_image", files)
    assert codes(files, results) == expected
    for file, result in zip(files, results, strict=True):
        assert file in renamed or result == decode.verify_image(file)
    # Another operation, by several threads at once.
    with ThreadPoolExecutor(4) as threads:
        parts = [files[start::4] for start in range(4)]
        read = list(threads.map(lambda part: pool.decode("read_image", part, DecodeOptions().to_json()), parts))
    assert {
        name: code for part, found in zip(parts, read, strict=True) for name, code in codes(part, found).items()
    } == (expected)


@pytest.mark.usefixtures("faulty_decoder")
def test_the_error_names_file_problem_and_remedy(folder: Path) -> None:
    crashing, hanging = rename_images(folder, "aborts", "hangs")
    with pytest.raises(ImageError) as crash:
        isolated.read_image(crashing)
    assert str(crash.value).startswith(f"{crashing}: It made the image decoder crash.")
    with pytest.raises(ImageError, match="within 5 seconds") as hang:
        isolated.read_image_size(hanging)
    assert hang.value.values["file"] == str(hanging)
    thumbnail, missing = thumbnails.make_thumbnails([folder / "blue" / "blue_5.jpg", crashing])
    assert thumbnail
    assert missing is None


@pytest.mark.usefixtures("faulty_decoder")
def test_a_file_that_crashed_is_not_tried_again_until_it_changes(
    folder: Path, pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (crashing,) = rename_images(folder, "aborts")
    content = (folder / "amber" / "amber_5.jpg").read_bytes()
    started: list[object] = []
    whole = pool._decode_alone

    def counted(operation: str, source: Path, arguments: Mapping[str, Any]) -> object:
        started.append(source)
        return whole(operation, source, arguments)

    monkeypatch.setattr(pool, "_decode_alone", counted)
    for _ in range(3):
        assert codes([crashing], pool.decode("verify_image", [crashing])) == {"aborts": "decoder_crashed"}
    assert len(started) == 1
    crashing.rename(crashing.with_name("cured.jpg"))
    crashing.write_bytes(content + b" ")
    pool.decode("verify_image", [crashing])
    assert len(started) == 2


@pytest.mark.usefixtures("faulty_decoder")
def test_a_scan_goes_on_names_the_file_and_remembers_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified_cache, "MIN_FILE_AGE_SECONDS", -1.0)
    rename_images(folder, "aborts", "hangs")
    first = scan.scan(folder)
    assert {problem.code: Path(problem.file).stem for problem in first.problems} == {
        "decoder_crashed": "aborts",
        "decoder_hung": "hangs",
    }
    assert sum(len(items) for items in first.splits.values()) == 22
    # In a process that knows nothing of it, the cache of verified files tells.
    isolated.close_shared_pool()
    asked: list[str] = []
    verify = isolated.verify_images

    def noted(files: list[str]) -> list[tuple[int, int] | ImageError]:
        asked.extend(files)
        return verify(files)

    monkeypatch.setattr(isolated, "verify_images", noted)
    assert scan.scan(folder) == first
    assert [Path(file).stem for file in asked] == ["hangs"]


def test_memory_is_watched_where_the_system_sets_no_limit(
    folder: Path, faulty_decoder: pytest.MonkeyPatch, pool: WorkerPool
) -> None:
    code = worker_process.WORKER_CODE.replace(
        "worker_main.serve", "worker_main._limit_memory = lambda _: False; worker_main.serve"
    )
    faulty_decoder.setattr(worker_process, "WORKER_CODE", code)
    faulty_decoder.setenv("FTLAB_DECODE_MEGABYTES", "200")
    faulty_decoder.setenv("FTLAB_DECODE_SECONDS", "60")
    (greedy,) = rename_images(folder, "hoards")
    assert codes([greedy], pool.decode("verify_image", [greedy])) == {"hoards": "decoder_memory"}


def test_streams_travel_to_the_worker_and_keep_their_name(folder: Path) -> None:
    file = folder / "blue" / "blue_1.jpg"
    with file.open("rb") as stream:
        stream.seek(100)
        assert np.array_equal(isolated.read_image(stream), decode.read_image(file))
    assert np.array_equal(isolated.read_image(io.BytesIO(file.read_bytes())), decode.read_image(file))
    with pytest.raises(ImageError) as closed:
        isolated.read_image(stream)
    assert closed.value.values["file"] == str(file)
    with pytest.raises(ImageError) as empty:
        isolated.read_image(io.BytesIO())
    assert str(empty.value).startswith("picture: The file is empty.")


def test_relative_paths_are_those_of_this_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolated.verify_images([str(folder / "blue" / "blue_1.jpg")])
    monkeypatch.chdir(folder / "blue")
    (cut,) = isolated.verify_images(["blue_9.jpg"])
    assert isinstance(cut, ImageError)
    assert (cut.code, cut.values["file"]) == ("missing", "blue_9.jpg")
    assert isolated.read_image_size("blue_1.jpg") == decode.read_image_size("blue_1.jpg")


def test_workers_are_few_stay_and_end_when_they_are_not_used(
    folder: Path, pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted((folder / "blue").glob("*"))
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda file: pool.decode("verify_image", [file]), files * 3))
    processes = [worker.process for worker in pool.workers]
    assert 1 <= len(processes) <= 2
    pool.decode("verify_image", files)
    assert {worker.process.pid for worker in pool.workers} <= {process.pid for process in processes}
    pool.prestart(2)
    monkeypatch.setattr(worker_pool, "IDLE_SECONDS", 0.0)
    pool.decode("verify_image", files)
    until = time.monotonic() + 60
    while len(pool.workers) > 1 and time.monotonic() < until:
        time.sleep(0.02)
    assert len(pool.workers) == 1
    pool.close()
    assert pool.workers == []
    assert pool._watchdog not in threading.enumerate()
    with pytest.raises(CancelledError):
        pool.decode("verify_image", files)


@pytest.mark.parametrize(
    ("value", "seconds"), [("2.5", 2.5), ("0", 30.0), ("-1", 30.0), ("nan", 30.0), ("inf", 30.0), ("soon", 30.0)]
)
def test_limits_can_be_set_by_the_environment(value: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTLAB_DECODE_SECONDS", value)
    assert worker_process.get_file_seconds() == seconds


def test_whoever_waits_is_not_overtaken_by_those_who_ask_again_and_again(folder: Path) -> None:
    pool, file, is_done = WorkerPool(1), folder / "blue" / "blue_1.jpg", threading.Event()
    pool.decode("verify_image", [file])
    counts = [0] * 3

    def ask_again_and_again(index: int) -> None:
        while not is_done.is_set() and counts[index] < 300:
            pool.decode("verify_image", [file])
            counts[index] += 1

    with ThreadPoolExecutor(len(counts)) as threads:
        futures = [threads.submit(ask_again_and_again, index) for index in range(len(counts))]
        overtaking = []
        for _ in range(30):
            count_before = sum(counts)
            pool.decode("verify_image", [file])
            overtaking.append(sum(counts) - count_before)
        is_done.set()
        for future in futures:
            future.result()
    pool.close()
    assert max(overtaking) <= 2 * len(counts), "each may be in line before, and finish what it began"


@pytest.mark.usefixtures("faulty_decoder")
def test_the_guilty_are_named_too_where_quick_answers_come_together(folder: Path, pool: WorkerPool) -> None:
    renamed = rename_images(folder, "aborts", "poisons")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    results = pool.decode("verify_image", files, group_answers=True)
    assert codes(files, results) == {"aborts": "decoder_crashed", "poisons": "decoder_crashed"}
    for file, result in zip(files, results, strict=True):
        assert file in renamed or result == decode.verify_image(file)
