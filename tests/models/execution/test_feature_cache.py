"""Features that were computed before: found again by what they depend on, and never a reason to fail."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ftlab.config.train_config import TrainConfig
from ftlab.data.transforms import augment
from ftlab.models.execution import engines, feature_cache, features
from ftlab.models.execution.feature_cache import FeatureCache
from ftlab.models.execution.feature_rows import pack_rows
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Event, LogMessage, Progress
from ftlab.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")


def rows(first: int, count: int, width: int = 8) -> list[tuple[bytes, Tensor]]:
    return [(f"key {n}".encode(), torch.full((width,), float(n))) for n in range(first, first + count)]


@pytest.fixture
def store(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "kept" / "features.sqlite", 1_000_000)


def test_what_was_put_in_comes_out_again_to_the_bit(store: FeatureCache) -> None:
    put = [(key, torch.randn(5)) for key, _ in rows(0, 1200)]
    store.put(put)
    found = store.get([key for key, _ in put] + [b"another"])
    assert set(found) == {key for key, _ in put}
    assert all(torch.equal(found[key], vector) for key, vector in put)
    store.put([(put[0][0], torch.zeros(5))])
    assert torch.equal(store.get([put[0][0]])[put[0][0]], torch.zeros(5))


def test_half_precision_takes_half_the_room_and_comes_out_to_the_bit(tmp_path: Path) -> None:
    vectors = torch.randn(300, 1279)
    sizes = {}
    for precision in ("fp16", "fp32"):
        store = FeatureCache(tmp_path / f"{precision}.sqlite", 10_000_000, precision)
        put = [(b"%d" % n, row) for n, row in enumerate(pack_rows(vectors, precision))]
        store.put(put)
        found = store.get([key for key, _ in put])
        assert all(torch.equal(found[key], row) for key, row in put)
        sizes[precision] = store.file.stat().st_size
    assert sizes["fp16"] < 0.55 * sizes["fp32"]


def test_how_much_is_kept_can_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    made = feature_cache.open_feature_cache()
    assert made is not None
    assert (made.cache.budget_bytes, made.file.parent) == (2_000_000_000, Path(os.environ["FTLAB_HOME"]))
    monkeypatch.setenv("FTLAB_FEATURES_MB", "0")
    assert feature_cache.open_feature_cache() is None


# What they depend on


def test_views_that_are_described_alike_are_alike_and_others_are_not() -> None:
    def said(number: int, index: int = 3, **settings: Any) -> str:
        return augment.describe_view(TrainConfig(**{"augment": "flip", **settings}), number, index)

    assert said(0, 3, seed=1, augment="crop") == said(0, 9, seed=2)
    assert said(1, 3, seed=1) == said(1, 9, seed=2), "there is one mirror image only"
    assert said(1, rotate=10.0) != said(1)
    assert len({said(2), said(2, 4), said(3), said(2, seed=5), said(2, blur=1.0)}) == 5
    assert len({said(1, augment="crop"), said(1, augment="crop", crop_scale=0.5), said(1)}) == 3


# In a training


def told(run: Run) -> list[Event]:
    return list(train(run.load_config(), run))


def kept(events: list[Event]) -> int:
    notes = [
        event.values["kept"] for event in events if isinstance(event, LogMessage) and event.code == "features_kept"
    ]
    return int(str(notes[0])) if notes else 0


@pytest.fixture
def run(tiny_folder: Path, tmp_path: Path) -> Callable[..., Run]:
    """Makes a new run of one epoch on the tiny folder, unless told otherwise."""
    few: dict[str, Any] = {"data": str(tiny_folder), "image_size": 96, "epochs": 1, "torch_num_threads": 1}
    return lambda **settings: run_store.create_run(tmp_path / "runs", TrainConfig(**{**few, **settings}))


def test_another_seed_of_the_head_looks_at_no_picture_again(run: Callable[..., Run], tiny_folder: Path) -> None:
    first = run(epochs=2)
    assert kept(told(first)) == 0
    again = run(epochs=2)
    assert kept(told(again)) == 21
    figures = [[(row.val_loss, row.train_loss) for row in one.load_history().epochs] for one in (first, again)]
    assert figures[0] == figures[1], "to the bit"
    other = tiny_folder / "amber" / "amber_1.jpg"
    other.write_bytes((tiny_folder / "amber" / "amber_2.jpg").read_bytes() + b"\0")
    assert kept(told(run(epochs=2, head_hidden=8, seed=4))) >= 20 - 6, "the hand is dealt anew, and one file is another"
    assert kept(told(run(epochs=2, normalization="unit", image_size=80))) == 0, "they are prepared in another way"


def test_features_of_another_precision_are_not_taken(run: Callable[..., Run]) -> None:
    told(run(feature_precision="fp32"))
    assert kept(told(run())) == 0
    assert kept(told(run(feature_precision="fp32"))) == 21
    assert kept(told(run(feature_precision="fp16"))) == 21


def test_where_all_is_kept_no_engine_is_made(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    first = run()
    told(first)
    monkeypatch.setattr(engines, "choose_engine", lambda *_, **__: pytest.fail("an engine was made"))
    again = run()
    assert kept(told(again)) == 21
    assert again.load_resolved_config().engine == first.load_resolved_config().engine == "torch"


def test_features_that_are_cut_or_altered_are_computed_again(run: Callable[..., Run]) -> None:
    first = run()
    told(first)
    with closing(sqlite3.connect(Path(os.environ["FTLAB_HOME"], "features.sqlite"))) as file:
        changes = ("substr(value, 1, 12)", "zeroblob(length(value))", "randomblob(length(value))")
        for number, change in enumerate(changes):
            file.execute(f"UPDATE kept SET value = {change} WHERE rowid = {1 + 4 * number}")
        file.commit()
    again = run()
    assert 10 < kept(told(again)) < 21
    figures = [[(row.val_loss, row.train_loss) for row in one.load_history().epochs] for one in (first, again)]
    assert figures[0] == figures[1], "to the bit"


def test_looking_up_what_is_kept_says_how_far_it_is_and_can_be_stopped(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    told(run())
    monkeypatch.setattr("ftlab.runs.events.PROGRESS_INTERVAL_SECONDS", -1.0)
    monkeypatch.setattr(features, "CACHE_BATCH_IMAGES", 4)
    again = run()
    events = []
    for event in train(again.load_config(), again):
        events.append(event)
        if isinstance(event, Progress):
            again.liveness.request_stop()
    (far,) = (event for event in events if isinstance(event, Progress))
    assert (far.stage, far.done, far.total) == ("features", 4, 21)
    assert isinstance(events[-1], Ended)
    assert (events[-1].reason, events[-1].epoch, kept(events)) == ("stopped", 0, 0)


def test_features_of_another_engine_than_is_expected_are_not_taken(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    told(run())
    monkeypatch.setattr(engines, "MIN_ONNX_VIEWS", 1)
    monkeypatch.setattr(engines, "MIN_ONNX_SPEEDUP", 0.0)
    other = run()
    assert kept(told(other)) == 0
    assert other.load_resolved_config().engine == "onnxruntime"
    again = run()
    assert kept(told(again)) == 21
    assert again.load_resolved_config().engine == "onnxruntime"
