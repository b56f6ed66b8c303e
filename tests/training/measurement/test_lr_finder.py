"""The sweep over learning rates: its rates, what it suggests, what it leaves behind, and who asks for it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ftlab.cli import main
from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError, RunError
from ftlab.runs.jobs import lr_sweep, subprocess_query
from ftlab.runs.jobs.lr_sweep import LrSweep
from ftlab.training.measurement import lr_finder
from ftlab.training.train_step import TrainStep
from tests.support import drawn_images

pytestmark = pytest.mark.usefixtures("one_thread")


# What it suggests


def valley(middle: float, noise: float = 0.0) -> LrSweep:
    """A loss of 2 that falls to 0.5 around a rate, and rises steeply a decade and a half above it."""
    where = np.linspace(-6, 1, 100)
    away = where - math.log10(middle)
    losses = 2 - 1.5 / (1 + np.exp(-4 * away)) + np.exp(3 * (away - 1.5))
    dice = np.random.default_rng(0)
    return LrSweep([*(10**where)], [*(losses + noise * dice.normal(size=100))])


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("middle", [1e-4, 1e-3, 3e-2])
def test_the_rate_suggested_is_where_the_loss_falls_fastest(middle: float, noise: float) -> None:
    suggestion = valley(middle, noise).suggest_learning_rate()
    assert suggestion is not None
    assert middle / 2 <= suggestion <= 2 * middle
    assert float(f"{suggestion:.2g}") == suggestion


@pytest.mark.parametrize(
    "losses", [[1.0] * 100, [1 + 0.01 * i for i in range(100)], [1.0, 0.5], []], ids=["flat", "rising", "few", "none"]
)
def test_where_the_loss_does_not_fall_there_is_no_suggestion(losses: list[float]) -> None:
    rates = [10 ** (-6 + 0.07 * i) for i in range(len(losses))]
    assert LrSweep(rates, losses).suggest_learning_rate() is None


def test_smoothing_is_a_mean_over_the_steps_around() -> None:
    assert LrSweep([1, 2, 3], [4.0, 2.0, 3.0]).smooth_losses() == pytest.approx([4, 3, 3])
    line = [float(value) for value in range(20)]
    assert LrSweep(line, line).smooth_losses() == pytest.approx(line), "it does not come late"


# The sweep


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = backbones.get_backbone_spec("mobilenet_v2")
    monkeypatch.setitem(backbones.BACKBONES, spec.name, dataclasses.replace(spec, side=64, resize=72, speed=4))
    monkeypatch.setattr(lr_finder, "MIN_SWEEP_STEPS", 12)
    monkeypatch.setattr(lr_finder, "MAX_SWEEP_STEPS", 40)


@pytest.fixture
def asked(tiny_folder: Path) -> Callable[..., TrainConfig]:
    few = {"data": str(tiny_folder), "backbone": "mobilenet_v2", "batch_size": 4, "torch_num_threads": 1}
    return lambda **settings: TrainConfig(**{**few, **settings})


def swept(config: TrainConfig) -> LrSweep:
    *_, found = lr_finder.sweep_learning_rates(config, pretrained=False)
    assert isinstance(found, LrSweep)
    return found


@pytest.mark.parametrize("mode", ["frozen", "full"])
def test_each_step_is_taken_at_a_higher_rate_by_the_same_factor(
    asked: Callable[..., TrainConfig], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[list[float]] = []
    step = TrainStep.step

    def noted(learner: TrainStep, number: int) -> None:
        taken.append([group["lr"] for group in learner.optimizer_unwrapped.param_groups])
        step(learner, number)

    monkeypatch.setattr(TrainStep, "step", noted)
    found = swept(asked(mode=mode, unfreeze_epoch=3 if mode == "full" else 0, schedule="onecycle"))
    assert 10 < len(found.rates) <= 40
    assert found.rates[0] == pytest.approx(1e-6)
    factors = [high / low for low, high in itertools.pairwise(found.rates)]
    assert factors == pytest.approx([factors[0]] * len(factors))
    assert all(math.isfinite(loss) for loss in found.losses)
    head = 10 if mode == "full" else 1
    for rates, rate in zip(taken, found.rates, strict=False):
        assert max(rates) == pytest.approx(head * rate)
        assert min(rates) == pytest.approx(rate)


def test_it_reaches_the_highest_rate_or_breaks_off_where_the_loss_has_grown(asked: Callable[..., TrainConfig]) -> None:
    found = swept(asked())
    assert found.rates[-1] == pytest.approx(10.0) or found.losses[-1] > 3 * min(found.smooth_losses())


def test_the_sum_of_a_batch_is_swept_at_as_much_lower_rates(asked: Callable[..., TrainConfig]) -> None:
    assert swept(asked(loss_reduction="sum")).rates[0] == pytest.approx(1e-6 / 4)


def test_nothing_is_left_and_nothing_is_written_to_the_folder(
    asked: Callable[..., TrainConfig], tiny_folder: Path, tmp_path: Path
) -> None:
    def everything() -> list[Path]:
        return sorted(path for path in (*tmp_path.rglob("*"), *tiny_folder.rglob("*")) if "home" not in path.parts)

    before, state = everything(), torch.get_num_threads()
    swept(asked())
    assert everything() == before
    assert torch.get_num_threads() == state


def test_a_slow_backbone_takes_fewer_steps(tmp_path: Path) -> None:
    for number in range(160):
        folder = tmp_path / "many" / ("cats", "dogs")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(drawn_images.png())
    config = TrainConfig(data=str(tmp_path / "many"), backbone="mobilenet_v2", mode="full", batch_size=8)
    pictures, steps = lr_finder.choose_sweep_images(config)
    assert steps == 12
    assert len(pictures.splits["train"]) == 12 * 8
    assert len(pictures.splits["val"]) == 1


def test_what_cannot_be_trained_cannot_be_swept(asked: Callable[..., TrainConfig]) -> None:
    with pytest.raises(ConfigError, match="layer9"):
        swept(asked(mode="full", unfreeze_from="layer9"))


# Who asks for it


def test_the_command_line_tells_the_curve_and_the_suggestion(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = valley(1e-3)
    monkeypatch.setattr(lr_finder, "sweep_learning_rates", lambda _config: iter([made]))
    figure = tmp_path / "rates.png"
    assert main.main(["find-rate", "--data", str(tiny_folder), "--out", str(figure), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rates"], told["losses"], told["suggestion"]) == (
        made.rates,
        made.losses,
        made.suggest_learning_rate(),
    )
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert main.main(["find-rate", "--data", str(tiny_folder)]) == 0
    assert f"{made.suggest_learning_rate():g}" in capsys.readouterr().out


def test_without_pictures_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["find-rate"]) == 2
    assert "No pictures are chosen." in capsys.readouterr().err


def test_the_page_has_another_process_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def ask(verb: str, settings: TrainConfig, _wanted: object, _seconds: float) -> dict[str, Any]:
        asked.update(verb=verb, data=settings.data, sample=settings.sample)
        return {"rates": [1.0], "losses": [2.0], "smooth": [2.0], "suggestion": None}

    monkeypatch.setattr(subprocess_query, "run_query", ask)
    assert lr_sweep.run_lr_sweep(TrainConfig(sample="shapes"), "somewhere") == LrSweep([1.0], [2.0])
    assert asked == {"verb": "find-rate", "data": "somewhere", "sample": ""}


def test_one_that_is_no_longer_wanted_is_given_up(tiny_folder: Path) -> None:
    assert lr_sweep.run_lr_sweep(TrainConfig(), tiny_folder, lambda: False) is None


def test_a_failure_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no folder") as caught:
        lr_sweep.run_lr_sweep(TrainConfig(), tmp_path / "none")
    assert "\n" not in str(caught.value)
