"""The schedule that looks at validation: when it cuts the rate, and when it ends the training."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import nn

from ftlab.config.train_config import TrainConfig
from ftlab.training.optim.plateau import PlateauState


def watched(accuracies: list[float], **settings: Any) -> tuple[list[float], int | None]:
    """The share of the rate that each epoch leaves, and the epoch (from 1) at whose end the training is over."""
    config, plateau = TrainConfig(**{"schedule": "plateau", **settings}), PlateauState()
    shares: list[float] = []
    for epoch, accuracy in enumerate(accuracies, 1):
        over = plateau.record_validation(config, accuracy, 1 - accuracy)
        shares.append(plateau.share)
        if over:
            return shares, epoch
    return shares, None


@pytest.mark.parametrize("patience", [0, 1, 3])
@pytest.mark.parametrize("best_by", ["accuracy", "loss"])
def test_against_the_best_it_cuts_where_torchs_does(patience: int, best_by: str) -> None:
    dice = random.Random(patience)
    accuracies = [dice.random() for _ in range(60)]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max" if best_by == "accuracy" else "min", factor=0.5, patience=patience, threshold=0.0, eps=0.0
    )
    expected = []
    for accuracy in accuracies:
        torchs.step(accuracy if best_by == "accuracy" else 1 - accuracy)
        expected.append(optimizer.param_groups[0]["lr"])
    shares, over = watched(accuracies, plateau_patience=patience, lr_gamma=0.5, monitor=best_by)
    assert shares == pytest.approx(expected, rel=1e-9)
    assert over is None


def test_against_the_epoch_before_it_cuts_by_five_and_the_third_cut_is_the_end_in_a_row_or_not() -> None:
    accuracies = [0.3, 0.5, 0.4, 0.4, 0.45, 0.44, 0.7, 0.6, 0.9]
    settings = {"plateau_mode": "previous", "plateau_patience": 0, "lr_gamma": 0.2, "plateau_max_reductions": 3}
    shares, over = watched(accuracies, **settings)
    assert shares == pytest.approx([1, 1, 0.2, 0.2, 0.2, 0.04, 0.04, 0.008])
    assert over == 8


def test_a_figure_that_is_not_known_changes_nothing() -> None:
    plateau = PlateauState()
    assert not plateau.record_validation(TrainConfig(plateau_patience=0), None, None)
    assert plateau == PlateauState()
