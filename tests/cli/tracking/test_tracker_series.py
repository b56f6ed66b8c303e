"""What a tracker gets of an event, and what of a resumed run it has got before."""

from __future__ import annotations

import math

from ftlab.cli.tracking.tracker_series import ResumePoint, list_parameters, list_points
from ftlab.config.train_config import TrainConfig
from tests.support import fabricated_runs


def test_a_step_gives_the_training_series() -> None:
    assert list_points(fabricated_runs.step(4, loss=0.5, accuracy=0.25)) == {
        "train/loss": 0.5,
        "train/accuracy": 0.25,
        "train/learning_rate": 1e-3,
        "train/images_per_second": 321.0,
    }


def test_an_epoch_gives_the_validation_series() -> None:
    assert list_points(fabricated_runs.epoch(2, 0.75, best=True)) == {
        "epoch": 2,
        "train/epoch_loss": 0.4321,
        "train/epoch_accuracy": 0.4321,
        "val/loss": 0.5,
        "val/accuracy": 0.75,
        "time/epoch_seconds": 1.0,
    }


def test_a_number_that_is_none_stays_and_what_is_unknown_is_left_out() -> None:
    points = list_points(fabricated_runs.step(4, loss=math.nan, accuracy=math.inf))
    assert math.isnan(points["train/loss"])
    assert points["train/accuracy"] == math.inf
    assert set(list_points(fabricated_runs.epoch(0, 0.1, best=True))) == {
        *("epoch", "val/loss", "val/accuracy", "time/epoch_seconds"),
    }


def test_other_events_give_nothing() -> None:
    assert list_points(fabricated_runs.started()) == list_points(fabricated_runs.ended()) == {}


def test_the_parameters_name_no_folder_of_a_person() -> None:
    config = TrainConfig(data="/home/ann/secret/pets", init_from="/home/ann/old.pth", mode="full", epochs=3)
    parameters = list_parameters(config, fabricated_runs.started())
    assert (parameters["data"], parameters["init_from"], parameters["epochs"]) == ("pets", "old.pth", 3)
    assert parameters["run/train_images"] == 320
    assert "ann" not in str(parameters)
    assert not [value for value in parameters.values() if value in (None, "")], "TensorBoard takes no None"


def test_what_any_earlier_process_has_recorded_is_not_given_again() -> None:
    first = [
        fabricated_runs.started(),
        *map(fabricated_runs.step, range(1, 16)),
        fabricated_runs.epoch(1, 0.5, best=True),
    ]
    second = [fabricated_runs.started(10), *map(fabricated_runs.step, range(11, 13))]
    point = ResumePoint([*first, *second])
    assert point.is_resumed
    assert [number for number in range(10, 20) if point.is_new(fabricated_runs.step(number))] == [16, 17, 18, 19]
    assert [number for number in range(3) if point.is_new(fabricated_runs.epoch(number, 0.5, best=False))] == [2]
    assert not point.is_new(fabricated_runs.ended())


def test_a_fresh_run_gives_everything() -> None:
    point = ResumePoint([])
    assert not point.is_resumed
    assert point.is_new(fabricated_runs.epoch(0, 0.1, best=True))
    assert point.is_new(fabricated_runs.step(1))
