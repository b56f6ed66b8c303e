"""Evaluation and prediction of tar shards: the answers for the same images in a folder, in one pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftlab.core.errors import DataError
from ftlab.data.conversion.shard_writer import ShardLimits, write_shards
from ftlab.data.dataset.scan import scan
from ftlab.data.shards.shard_list import ShardList, find_shards
from ftlab.evaluation import datasets, evaluate
from ftlab.evaluation.shard_evaluation import evaluate_shards
from ftlab.inference import batch_predict
from ftlab.runs.directory import Run
from tests.support import known_evaluations
from tests.support.shard_server import serving_shards
from tests.support.tar_shards import members, write_tar

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def run(tmp_path: Path, tiny_folder: Path) -> Run:
    return known_evaluations.run(tmp_path / "runs", tiny_folder)


@pytest.fixture
def shards(tmp_path: Path, tiny_folder: Path) -> ShardList:
    """All images of the tiny folder, five in a shard."""
    write_shards(scan(tiny_folder), tmp_path / "shards", limits=ShardLimits(5))
    return find_shards(str(tmp_path / "shards"))


def test_shards_are_scored_as_the_folder_they_were_made_of(
    run: Run, shards: ShardList, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_predict, "CHUNK_SAMPLES", 7)
    expected = evaluate.evaluate_with_decision(run, datasets.load_folder_dataset(tiny_folder, known_evaluations.NAMES))
    done_counts: list[tuple[int, int]] = []
    found = evaluate_shards(run, shards, progress=lambda done, total: done_counts.append((done, total)))
    order = np.argsort(found.result.paths)
    expected_order = np.argsort(expected.result.paths)
    assert [found.result.paths[i] for i in order] == [expected.result.paths[i] for i in expected_order]
    assert found.result.labels[order].tolist() == expected.result.labels[expected_order].tolist()
    np.testing.assert_allclose(found.result.logits[order], expected.result.logits[expected_order], atol=1e-4)
    assert (found.metrics.top1, found.decision) == (expected.metrics.top1, expected.decision)
    assert done_counts == [(number, 24) for number in range(1, 25)]


def test_an_image_that_cannot_be_decoded_is_told_and_others_are_counted_once(
    run: Run, tiny_folder: Path, tmp_path: Path
) -> None:
    image = next((tiny_folder / "blue").iterdir()).read_bytes()
    good = [("1.cls", b"blue"), ("1.jpg", image)]
    file = write_tar(
        tmp_path / "s.tar", [*good, *members("2", 1, b"\xff\xd8\xff broken"), *good, *members("4", 7, image)]
    )
    codes: list[str] = []
    found = evaluate_shards(run, find_shards(str(file)), on_problem=lambda problem: codes.append(problem.code))
    assert (found.result.paths, found.result.labels.tolist()) == (("1.jpg",), [1])
    assert [skipped.path for skipped in found.result.skipped_images] == ["2.jpg"]
    assert (codes, found.result.unknown_classes) == (["shard_repeated"], (("7", 1),))


def test_shards_of_no_known_class_are_one_line(run: Run, tmp_path: Path) -> None:
    file = write_tar(tmp_path / "s.tar", [("1.cls", b"dog"), ("1.jpg", b"x")])
    with pytest.raises(DataError, match="dog"):
        evaluate_shards(run, find_shards(str(file)))
    write_tar(file, members("1", 0, b"x"))
    with pytest.raises(DataError, match="can no longer be read"):
        evaluate_shards(run, find_shards(str(file)))


def test_the_commands_take_a_folder_or_an_address_of_shards(
    say: Any, run: Run, shards: ShardList, tiny_folder: Path, tmp_path: Path
) -> None:
    assert shards.count_samples() == 24
    runs = ("--runs", tmp_path / "runs", "--json")
    status, out, _ = say("evaluate", "latest", "--folder", tmp_path / "shards", *runs)
    assert (status, json.loads(out)["n"]) == (0, 24)
    write_tar(tmp_path / "shards" / "train-000001.tar", [])
    with serving_shards(tmp_path / "shards") as server:
        status, out, err = say("predict", "latest", f"{server.url}/train-{{000000..000001}}.tar", *runs)
    rows = [json.loads(line) for line in out.splitlines()]
    assert (status, len(rows), "train-000001.tar:0: It holds no sample." in err) == (0, 5, True)
    _, out, _ = say("predict", "latest", *(tiny_folder / row["file"] for row in rows), *runs)
    for row, alone in zip(rows, map(json.loads, out.splitlines()), strict=True):
        assert row["top"][0]["class"] == alone["top"][0]["class"]
        assert row["top"][0]["probability"] == pytest.approx(alone["top"][0]["probability"], abs=1e-4)
    status, _, err = say("evaluate", "latest", "--folder", tmp_path / "shards", "--out", tmp_path / "o", *runs)
    assert (status, len(err.splitlines())) == (2, 1)
    assert run.path.is_dir()
