"""The samples of many shards: their order, the parts of several readers, and going on from any sample."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftlab.core.errors import DataError
from ftlab.data.shards.shard_list import find_shards
from ftlab.data.shards.shard_sample import ShardProblem
from ftlab.data.shards.stream import ReaderPart, ShardStream, StreamPosition, position_from_json
from tests.support.tar_shards import members, write_tar


@pytest.fixture
def pattern(tmp_path: Path) -> str:
    """Seven shards of five samples, the fourth of them empty."""
    for shard in range(7):
        keys = [] if shard == 3 else [f"{shard}-{number}" for number in range(5)]
        write_tar(tmp_path / f"s-{shard}.tar", [member for key in keys for member in members(key)])
    return str(tmp_path / "s-{0..6}.tar")


def list_keys(stream: ShardStream) -> list[str]:
    return [sample.key for sample in stream]


def test_without_a_buffer_the_samples_come_as_they_stand(pattern: str) -> None:
    problems: list[ShardProblem] = []
    keys = list_keys(ShardStream(find_shards(pattern), on_problem=problems.append))
    assert keys == [f"{shard}-{number}" for shard in (0, 1, 2, 4, 5, 6) for number in range(5)]
    assert [(problem.file, problem.code) for problem in problems] == [("s-3.tar", "shard_empty")]


def test_seed_and_epoch_decide_the_order(pattern: str) -> None:
    def shuffle(seed: int, epoch: int) -> list[str]:
        return list_keys(ShardStream(find_shards(pattern), position=StreamPosition(epoch), seed=seed, buffer_size=8))

    orders = [shuffle(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert orders == [shuffle(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(keys) for keys in orders}) == 4
    assert all(sorted(keys) == sorted(orders[0]) for keys in orders)
    assert len(set(orders[0])) == 30


@pytest.mark.parametrize("buffer_size", [0, 1, 8, 100])
@pytest.mark.parametrize("readers", [1, 2, 3, 7, 9])
def test_readers_get_each_sample_once_and_go_on_from_any(pattern: str, readers: int, buffer_size: int) -> None:
    shards, all_keys = find_shards(pattern), list[str]()
    for index in range(readers):
        part = ReaderPart(index, readers)
        keys = list_keys(ShardStream(shards, buffer_size=buffer_size, part=part))
        all_keys += keys
        stream = ShardStream(shards, buffer_size=buffer_size, part=part)
        for delivered in range(len(keys) + 1):
            position = position_from_json(json.loads(json.dumps(stream.position.to_json())))
            rest = ShardStream(shards, buffer_size=buffer_size, part=part, position=position)
            assert list_keys(rest) == keys[delivered:]
            next(stream, None)
    assert len(all_keys) == len(set(all_keys)) == 30


def test_fewer_shards_than_readers_are_told_once(pattern: str) -> None:
    problems: list[ShardProblem] = []
    for index in range(9):
        list_keys(ShardStream(find_shards(pattern), part=ReaderPart(index, 9), on_problem=problems.append))
    assert [problem.code for problem in problems] == ["shard_few", "shard_empty"]
    assert "7 shards for 9 readers" in problems[0].problem


def test_a_shard_that_is_named_twice_is_read_once(pattern: str) -> None:
    problems: list[ShardProblem] = []
    twice = find_shards(pattern.replace("{0..6}", "{0,1,0}"))
    assert list_keys(ShardStream(twice, on_problem=problems.append)) == [f"{s}-{n}" for s in (0, 1) for n in range(5)]
    assert [problem.code for problem in problems] == ["shard_listed_twice"]


def test_a_position_of_other_shards_is_refused(pattern: str) -> None:
    for position in (StreamPosition(shard=8), StreamPosition(offset=-1)):
        with pytest.raises(DataError, match="position"):
            ShardStream(find_shards(pattern), position=position)
    with pytest.raises(DataError, match="position"):
        position_from_json({"epoch": "x"})
    with pytest.raises(DataError, match="begins at byte 7"):
        list(ShardStream(find_shards(pattern), position=StreamPosition(offset=7)))
