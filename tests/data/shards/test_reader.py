"""Samples of a shard: in order, from any of them on, and what is told of shards that are not as they should be."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.data.conversion.shard_writer import write_shards
from ftlab.data.dataset.scan import scan
from ftlab.data.shards.reader import iter_shard
from ftlab.data.shards.shard_sample import ShardProblem, ShardSample
from tests.support.image_folders import CLASSES, make_folders
from tests.support.tar_shards import find_problems, members, read_samples, write_tar

THREE = [*members("a/1", 0, b"x" * 700), *members("a/2", 1), *members("b/1", 0)]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return tmp_path / "shard.tar"


def list_keys(file: Path, start_offset: int = 0) -> list[str]:
    return [sample.key for sample in read_samples(file, start_offset)]


def test_what_was_written_is_read_in_order(tmp_path: Path) -> None:
    catalog = scan(make_folders(tmp_path / "images", *(f"train/{name}" for name in CLASSES), "val/amber", "val/blue"))
    index = write_shards(catalog, tmp_path / "out")
    samples = list(iter_shard(tmp_path / "out" / "train-000000.tar", classes=index.classes))
    assert all(isinstance(sample, ShardSample) for sample in samples)
    read = {s.path: (s.label, s.class_name, s.image, s.extension) for s in samples if isinstance(s, ShardSample)}
    assert read == {
        item.path: (item.label, CLASSES[item.label], catalog.image_path(item).read_bytes(), "jpg")
        for item in catalog.splits["train"]
    }


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reading_goes_on_after_any_sample(shard: Path, tar_format: int) -> None:
    names = ["a/1", "a/" + "long" * 40 if tar_format != tarfile.USTAR_FORMAT else "a/2", "ä/3", "b/4"]
    write_tar(shard, [member for name in names for member in members(name)], tar_format)
    samples = read_samples(shard)
    assert [sample.key for sample in samples] == names
    for number, sample in enumerate(samples):
        assert read_samples(shard, sample.offset) == samples[number:]
        assert read_samples(shard, sample.end_offset) == samples[number + 1 :]
    assert list(iter_shard(shard, start_offset=samples[-1].end_offset)) == []


@pytest.mark.parametrize("start_offset", [1, 512, 700, 10**9])
def test_reading_begins_at_a_member_only(shard: Path, start_offset: int) -> None:
    write_tar(shard, THREE)
    with pytest.raises(DataError, match=f"begins at byte {start_offset}") as caught:
        list(iter_shard(shard, start_offset=start_offset))
    assert caught.value.code == "shards.offset"


def test_a_key_is_counted_once_also_where_reading_went_on(shard: Path) -> None:
    write_tar(shard, [*THREE, *members("a/1", 1), *members("c", 1)])
    assert list_keys(shard) == ["a/1", "a/2", "b/1", "c"]
    assert find_problems(shard) == ["shard_repeated"]
    resumed = list(iter_shard(shard, start_offset=read_samples(shard)[1].offset))
    assert [result.key if isinstance(result, ShardSample) else result.code for result in resumed] == [
        *("a/2", "b/1", "shard_repeated", "c")
    ]


def test_a_sample_without_class_or_image_is_told(shard: Path) -> None:
    write_tar(shard, [("1.jpg", b"x"), ("2.cls", b"0"), ("3.jpg", b"x"), ("3.cls", b"")])
    assert list(iter_shard(shard)) == [
        ShardProblem("shard.tar", 0, "shard_no_class", {"key": "1"}),
        ShardProblem("shard.tar", 1024, "shard_no_image", {"key": "2"}),
        ShardProblem("shard.tar", 2048, "shard_no_class", {"key": "3"}),
    ]


@pytest.mark.parametrize(
    ("class_text", "json_text", "expected"),
    [
        ("1", "", (1, "blue")),
        (" 1\n", "", (1, "blue")),
        ("blue", "", (1, "blue")),
        ("", '{"class": "blue"}', (1, "blue")),
        ("", '{"label": 1}', (1, "blue")),
        ("1", '{"class": "blue", "path": "x"}', (1, "blue")),
        ("1", "[1, 2]", (1, "blue")),
        ("1", "{broken", (1, "blue")),
        ("0", '{"class": "blue"}', None),
        ("2", "", None),
        ("-1", "", None),
        ("9" * 5000, "", None),
        ("green", "", None),
        ("", '{"label": true, "class": 7, "path": 5}', None),
    ],
)
def test_the_class_is_named_by_cls_or_json(
    shard: Path, class_text: str, json_text: str, expected: tuple[int, str] | None
) -> None:
    texts = [(name, text.encode()) for name, text in (("1.cls", class_text), ("1.json", json_text)) if text]
    write_tar(shard, [*texts, ("1.jpg", b"x")])
    (result,) = iter_shard(shard, classes=CLASSES)
    if expected is None:
        assert isinstance(result, ShardProblem)
        assert result.code in ("shard_class", "shard_no_class")
    else:
        assert isinstance(result, ShardSample)
        assert (result.label, result.class_name) == expected


def test_the_first_image_of_a_sample_is_used_and_others_are_told(shard: Path) -> None:
    twice = [("1.cls", b"0"), ("1.jpg", b"first"), ("1.png", b"second"), ("1.JPG", b"third"), ("1.seg.png", b"mask")]
    write_tar(shard, twice)
    assert [sample.image for sample in read_samples(shard)] == [b"first"]
    assert find_problems(shard) == ["shard_images", "shard_twice"]


def test_members_that_belong_to_no_sample_are_told(shard: Path) -> None:
    write_tar(shard, [("__meta__", b"x"), ("README", b"x"), (".hidden", b"x"), *THREE])
    with tarfile.open(shard, "a") as archive:
        folder, link = tarfile.TarInfo("folder.d"), tarfile.TarInfo("link.jpg")
        folder.type, link.type, link.linkname = tarfile.DIRTYPE, tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(folder)
        archive.addfile(link)
    assert find_problems(shard) == ["shard_name", "shard_name", "shard_member"]
    assert list_keys(shard) == ["a/1", "a/2", "b/1"]


def test_an_empty_shard_is_told(shard: Path) -> None:
    assert find_problems(write_tar(shard, [])) == ["shard_empty"]
    shard.write_bytes(b"")
    assert find_problems(shard) == ["empty"]


@pytest.mark.parametrize("content", [b"\xff\xd8\xff" * 900, b"<html>", b"x" * 5000])
def test_a_file_that_is_no_tar_is_told(shard: Path, content: bytes) -> None:
    shard.write_bytes(content)
    assert find_problems(shard) == ["shard_no_tar"]


def test_a_compressed_shard_is_told(shard: Path) -> None:
    shard.write_bytes(gzip.compress(write_tar(shard, THREE).read_bytes()))
    assert find_problems(shard) == ["shard_compressed"]


def test_a_shard_that_was_cut_gives_whole_samples_only_wherever_it_was_cut(shard: Path) -> None:
    content = write_tar(shard, THREE).read_bytes()
    samples = read_samples(shard)
    for size in range(1, samples[-1].end_offset, 100):
        shard.write_bytes(content[:size])
        results = list(iter_shard(shard))
        whole = [result for result in results if isinstance(result, ShardSample)]
        assert whole == samples[: len(whole)]
        assert all(sample.offset < size for sample in whole)
        assert len(whole) >= sum(sample.end_offset <= size for sample in samples)
        last = results[-1]
        assert isinstance(last, ShardProblem), size
        assert last.code in ("shard_truncated", "shard_no_end", "shard_no_tar"), (size, last.code)


def test_a_shard_without_an_end_mark_is_told(shard: Path) -> None:
    content = write_tar(shard, THREE).read_bytes()
    samples = read_samples(shard)
    shard.write_bytes(content[: samples[-1].end_offset])
    assert [*samples] == read_samples(shard)
    assert find_problems(shard) == ["shard_no_end"]


def test_a_damaged_header_is_told_where_tarfile_would_see_the_end(shard: Path) -> None:
    content = bytearray(write_tar(shard, THREE).read_bytes())
    second = read_samples(shard)[1]
    content[second.offset + 150] ^= 0xFF  # the checksum
    shard.write_bytes(content)
    with tarfile.open(shard) as archive:
        assert archive.getnames() == ["a/1.cls", "a/1.jpg"]
    assert list_keys(shard) == ["a/1"]
    assert [*iter_shard(shard)][-1] == ShardProblem("shard.tar", second.offset, "shard_damaged")


def test_a_size_below_zero_ends_the_pass(shard: Path) -> None:
    info = tarfile.TarInfo("1.jpg")
    info.pax_headers = {"size": "-2048"}
    with tarfile.open(shard, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO())
    assert find_problems(shard)[-1] in ("shard_damaged", "shard_no_tar")


def test_a_stated_size_beyond_the_file_takes_no_memory(shard: Path) -> None:
    info = tarfile.TarInfo("1.jpg")
    info.size = 1 << 40
    shard.write_bytes(info.tobuf() + bytes(512))
    assert find_problems(shard) == ["shard_truncated"]


def test_one_image_is_held_at_a_time(shard: Path) -> None:
    size = 4_000_000
    write_tar(shard, [member for number in range(8) for member in members(str(number), 0, bytes(size))])
    tracemalloc.start()
    try:
        count = sum(1 for _ in iter_shard(shard))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 8
    assert peak < 2.5 * size, "the sample that the loop has, and the next one"


def test_a_shard_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none.tar", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            list(iter_shard(path))


def test_every_problem_has_its_sentences(shard: Path) -> None:
    problem = ShardProblem("shard.tar", 0, "shard_class", {"key": "a\n1", "name": "green"})
    assert "a\\x0a1" in problem.problem
    assert problem.remedy
    assert json.dumps(problem.values)
    assert not shard.exists()
