"""Shards on a server that stalls, cuts, answers ranges wrongly and repeats: each sample once, or one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.data.shards.http_file import HttpFile
from ftlab.data.shards.reader import iter_shard
from ftlab.data.sources import download
from tests.support.shard_server import ShardServer, serving_shards
from tests.support.tar_shards import members, write_tar

NAME = "train-000000.tar"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    write_tar(
        folder / NAME, [m for number in range(9) for m in members(f"k{number}", number, bytes([number]) * 150_000)]
    )
    return folder


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShardServer]:
    monkeypatch.setattr(download, "RETRY_DELAY_SECONDS", 0.0)
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.3)
    with serving_shards(folder) as state:
        yield state


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ("well", "well"),
        ("chunked", "well"),
        ("error", "well"),
        ("cut", "well"),
        ("cut", "whole"),
        ("cut", "repeat"),
        ("cut", "cut"),
        ("stall", "well"),
        ("stall", "whole"),
    ],
)
def test_each_sample_comes_once_from_a_server_on_a_bad_day(
    folder: Path, server: ShardServer, first: str, later: str
) -> None:
    server.manner = lambda number: first if number == 1 else later
    assert list(iter_shard(f"{server.url}/{NAME}")) == list(iter_shard(folder / NAME))


def test_a_shard_comes_by_one_request(server: ShardServer) -> None:
    assert len(list(iter_shard(f"{server.url}/{NAME}"))) == 9
    assert server.asked == [(f"/{NAME}", "")]


def test_reading_goes_on_from_a_sample(folder: Path, server: ShardServer) -> None:
    samples = list(iter_shard(folder / NAME))
    offset = samples[5].offset
    assert list(iter_shard(f"{server.url}/{NAME}", start_offset=offset)) == samples[5:]


def test_another_range_than_the_requested_one_is_never_taken(server: ShardServer) -> None:
    server.manner = lambda number: "cut" if number == 1 else "wrong_range"
    with pytest.raises(DataError, match="it sent others") as caught:
        list(iter_shard(f"{server.url}/{NAME}"))
    assert len(str(caught.value).splitlines()) == 1
    assert len(server.asked) == download.MAX_ATTEMPTS


def test_a_wrong_range_that_is_right_the_next_time_costs_nothing(folder: Path, server: ShardServer) -> None:
    server.manner = lambda number: {1: "cut", 2: "wrong_range"}.get(number, "well")
    assert list(iter_shard(f"{server.url}/{NAME}")) == list(iter_shard(folder / NAME))


def test_a_file_that_changes_meanwhile_is_told(server: ShardServer) -> None:
    def change(number: int) -> str:
        server.version = str(number)
        return "cut"

    server.manner = change
    with pytest.raises(DataError) as caught:
        list(iter_shard(f"{server.url}/{NAME}"))
    assert caught.value.code == "shards.changed"


def test_a_server_that_gives_nothing_more_is_one_line(server: ShardServer) -> None:
    server.manner = lambda number: "cut" if number == 1 else "error"
    with pytest.raises(DataError, match="HTTP 503") as caught:
        list(iter_shard(f"{server.url}/{NAME}"))
    assert len(str(caught.value).splitlines()) == 1


def test_a_server_that_is_not_there_is_one_line(server: ShardServer) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        HttpFile("http://127.0.0.1:9/none.tar")
    assert server.asked == []


def test_no_secret_of_an_address_is_told(server: ShardServer) -> None:
    host = server.url.removeprefix("http://")
    with pytest.raises(DataError, match="HTTP 404") as caught:
        list(iter_shard(f"http://{host}/none.tar?token=secret"))
    assert "secret" not in str(caught.value)
    assert len(server.asked) == 1, "a refusal is final"
