"""How long a training will take: the arithmetic, what is remembered, and one real measurement."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core import user_dirs
from ftlab.core.errors import RunError
from ftlab.runs.jobs import subprocess_query, time_estimate
from ftlab.runs.jobs.time_estimate import MeasuredSpeed
from ftlab.training.measurement import throughput

SPEED = MeasuredSpeed(startup=5.0, features=100.0, training=20.0, validation=50.0, step=0.01, saving=0.5)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# Arithmetic


def test_features_once_then_small_steps() -> None:
    config = TrainConfig(epochs=10, batch_size=30, cached_views=2)
    made = time_estimate.compute_estimate(config, SPEED, train_images=300, val_images=100)
    assert made.seconds == pytest.approx(5 + (2 * 300 + 100) / 100 + 10 * 10 * 0.01 + 2 * 0.5)
    assert made.images_per_second == 100


@pytest.mark.parametrize("way", [{"mode": "full"}, {"mode": "scratch"}, {"features": "fresh"}])
def test_training_and_validation_every_epoch(way: dict[str, Any]) -> None:
    made = time_estimate.compute_estimate(TrainConfig(epochs=10, **way), SPEED, train_images=300, val_images=100)
    seconds = 5 + 10 * 300 / 20 + 11 * 100 / 50 + 2 * 0.5
    assert made.seconds == pytest.approx(seconds + 10 * 0.5)  # and a checkpoint an epoch
    assert made.images_per_second == 20


def test_while_the_head_learns_alone_the_backbone_works_as_in_validation() -> None:
    config = TrainConfig(mode="full", epochs=10, unfreeze_epoch=4)
    made = time_estimate.compute_estimate(config, SPEED, train_images=300, val_images=100)
    assert made.seconds == pytest.approx(5 + 4 * 300 / 50 + 6 * 300 / 20 + 11 * 100 / 50 + 2 * 0.5 + 10 * 0.5)


def test_activations_once_then_the_upper_layers_in_each_epoch() -> None:
    config = TrainConfig(mode="full", unfreeze_from="auto", activations="cached", epochs=10, cached_views=4)
    speed = dataclasses.replace(SPEED, view_kilobytes=16.0)
    made = time_estimate.compute_estimate(config, speed, train_images=300, val_images=100)
    frozen_part = (4 * 300 + 100) / 100
    assert made.seconds == pytest.approx(5 + frozen_part + 10 * 300 / 20 + 11 * 100 / 50 + 2 * 0.5 + 10 * 0.5)
    assert made.images_per_second == 20
    assert made.disk_megabytes == pytest.approx(1300 * 0.016)


def test_after_the_upper_layers_all_layers_have_a_speed_of_their_own() -> None:
    config = TrainConfig(
        mode="full", unfreeze_from="auto", activations="cached", epochs=10, cached_views=4, unfreeze_epoch=2,
        unfreeze_all_epoch=6,
    )  # fmt: skip
    speed = dataclasses.replace(SPEED, all_training=4.0, all_validation=10.0)
    made = time_estimate.compute_estimate(config, speed, train_images=300, val_images=100)
    upper = 2 * 300 / 50 + 4 * 300 / 20 + 7 * 100 / 50
    all_layers = 4 * (300 / 4 + 100 / 10)
    assert made.seconds == pytest.approx(5 + (4 * 300 + 100) / 100 + upper + all_layers + 2 * 0.5 + 10 * 0.5)
    assert made.images_per_second == 4


def test_how_much_is_trained_decides_where_the_rest_is_computed_once() -> None:
    config = TrainConfig(mode="full", unfreeze_from="auto", activations="cached")
    changes: tuple[dict[str, Any], ...] = (
        {},
        {"unfreeze_from": "0.5"},
        {"activations": "fresh"},
        {"feature_precision": "fp32"},
        {"unfreeze_all_epoch": 3},
        {"unfreeze_all_epoch": 3, "activations": "fresh"},
    )
    keys = {time_estimate.build_speed_key(dataclasses.replace(config, **change)) for change in changes}
    assert len(keys) == len(changes)


def test_looking_at_the_colours_first_takes_its_time_too() -> None:
    slow = dataclasses.replace(SPEED, statistics=30.0)
    options: tuple[Any, ...] = ({}, {"mode": "full"})
    for settings in options:
        plain, more = (
            time_estimate.compute_estimate(TrainConfig(**settings), one, 300, 0).seconds for one in (SPEED, slow)
        )
        assert more - plain == pytest.approx(300 / 30, abs=1.1)


def test_features_that_are_kept_take_no_time() -> None:
    config = TrainConfig()
    computed = time_estimate.compute_estimate(config, SPEED, train_images=300, val_images=100)
    kept = time_estimate.compute_estimate(config, SPEED, train_images=300, val_images=100, kept_images=400)
    views = 300 * config.views_per_image + 100
    assert computed.seconds - kept.seconds == pytest.approx(views / SPEED.features)
    assert (computed.kept_images, kept.kept_images) == (0, 400)


def test_saving_takes_a_tenth_at_most() -> None:
    slow = dataclasses.replace(SPEED, saving=100.0)
    made = time_estimate.compute_estimate(TrainConfig(mode="full", epochs=10), slow, train_images=300, val_images=100)
    assert made.seconds == pytest.approx(1.1 * (5 + 150 + 22 + 200))


def test_more_of_anything_takes_longer() -> None:
    def seconds(images: int = 300, **settings: Any) -> float:
        return time_estimate.compute_estimate(TrainConfig(**settings), SPEED, images, 100).seconds

    assert seconds() < seconds(600)
    assert seconds(epochs=5) < seconds(epochs=50)
    assert seconds(cached_views=1) < seconds(cached_views=4)


# What is remembered


def asked(**settings: Any) -> TrainConfig:
    return TrainConfig(**{"data": "a", "backbone": "resnet18", **settings})


def test_a_speed_once_measured_answers_for_every_training_of_its_kind() -> None:
    assert time_estimate.find_known_estimate(asked(), 300, 100) is None
    time_estimate.save_speed(time_estimate.build_speed_key(asked()), SPEED)
    same = [asked(epochs=3), asked(learning_rate=0.5), asked(seed=4), asked(cached_views=1), asked(batch_size=32)]
    for config in (asked(), *same):
        assert time_estimate.find_known_estimate(config, 300, 100) == time_estimate.compute_estimate(
            config, SPEED, 300, 100
        )
    others = [
        asked(data="b"),
        asked(backbone="vit_b_16"),
        asked(mode="full"),
        asked(features="fresh"),
        asked(torch_num_threads=1),
    ]
    for config in (*others, asked(batch_size=7)):
        assert time_estimate.find_known_estimate(config, 300, 100) is None


def test_what_is_kept_adds_up_and_is_the_persons_not_the_runs() -> None:
    time_estimate.save_speed("one", SPEED)
    time_estimate.save_speed("two", SPEED)
    assert list(user_dirs.get_ftlab_home().iterdir()) == [user_dirs.get_ftlab_home() / "speeds.json"]
    assert json.loads((user_dirs.get_ftlab_home() / "speeds.json").read_text()).keys() == {"one", "two"}


@pytest.mark.parametrize("content", ["", "[]", "nonsense", '{"KEY": {"speed": 3}}'])
def test_a_file_that_says_nothing_is_nothing_measured(content: str) -> None:
    config = TrainConfig(data="a")
    user_dirs.get_ftlab_home().mkdir(parents=True)
    (user_dirs.get_ftlab_home() / "speeds.json").write_text(
        content.replace("KEY", time_estimate.build_speed_key(config))
    )
    assert time_estimate.find_known_estimate(config, 300, 100) is None
    time_estimate.save_speed(time_estimate.build_speed_key(config), SPEED)
    assert time_estimate.find_known_estimate(config, 300, 100) is not None


# Measuring


@pytest.mark.parametrize("way", [
    {"mode": "frozen"}, {"mode": "full"}, {"mode": "full", "unfreeze_from": "auto", "activations": "cached"},
    {"mode": "full", "unfreeze_from": "auto", "activations": "cached", "unfreeze_epoch": 3, "unfreeze_all_epoch": 6},
], ids=["frozen", "full", "upper layers", "three phases"])  # fmt: skip
@pytest.mark.usefixtures("one_thread")
def test_it_is_measured_by_a_tiny_training(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, way: dict[str, Any]
) -> None:
    spec = dataclasses.replace(backbones.get_backbone_spec("mobilenet_v2"), side=64, resize=72)
    monkeypatch.setitem(backbones.BACKBONES, spec.name, spec)
    monkeypatch.setattr(throughput, "TARGET_SECONDS", 0.2)
    (tiny_folder / "amber" / "amber_1.jpg").write_bytes(b"")  # is passed over here as everywhere
    before = sorted(tiny_folder.rglob("*"))
    config = TrainConfig(
        data=str(tiny_folder), backbone=spec.name, **way, batch_size=4, torch_num_threads=1, max_minutes=1e-9
    )
    found = throughput.measure_throughput(config)
    assert found.startup > 0
    assert min(found.training, found.validation, found.step, found.saving) > 0
    assert (found.features > 0) == (way != {"mode": "full"})
    assert (found.view_kilobytes > 0) == ("activations" in way)
    assert (min(found.all_training, found.all_validation) > 0) == ("unfreeze_all_epoch" in way)
    assert found.statistics == 0
    assert throughput.measure_throughput(dataclasses.replace(config, normalization="estimated")).statistics > 0
    assert sorted(tiny_folder.rglob("*")) == before


def test_a_process_of_its_own_measures_and_the_answer_is_kept(tiny_folder: Path) -> None:
    config = TrainConfig(data=str(tiny_folder), torch_num_threads=1, epochs=7)
    made = time_estimate.measure_and_estimate(config, tiny_folder, 18, 3)
    assert made is not None
    assert 0 < made.seconds < 600
    assert time_estimate.find_known_estimate(config, 18, 3) == made


def test_a_measurement_that_is_no_longer_wanted_is_given_up(tiny_folder: Path) -> None:
    config = TrainConfig(data=str(tiny_folder))
    assert time_estimate.measure_and_estimate(config, tiny_folder, 18, 3, should_continue=lambda: False) is None
    assert time_estimate.find_known_estimate(config, 18, 3) is None


def test_a_measurement_that_fails_says_why_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^There is no folder") as caught:
        time_estimate.measure_and_estimate(TrainConfig(), tmp_path / "none", 18, 3)
    assert caught.value.code == "run.refused"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("said", ["print('no JSON')", "print('{}')", "pass"])
def test_an_answer_that_cannot_be_read_is_a_failure(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess_query.capture_output
    monkeypatch.setattr(
        subprocess_query, "capture_output", lambda _words, *more: real([sys.executable, "-c", said], *more)
    )
    with pytest.raises(RunError) as caught:
        time_estimate.measure_and_estimate(TrainConfig(), ".", 1, 1)
    assert caught.value.code == "run.measure"
