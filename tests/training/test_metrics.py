"""Sums and counts, divided once."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator

from ftlab.training.metrics import BatchedMetricSums, Metrics, MetricSums

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def alone() -> Accelerator:
    return Accelerator(cpu=True)


def test_by_hand(alone: Accelerator) -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, math.log(2)]])
    tally = MetricSums(CPU)
    tally.add_batch(logits, torch.tensor([1, 2]))
    score = tally.compute_metrics(alone)
    first = math.log(math.exp(2) + math.exp(1) + 1) - 1
    assert score.loss == pytest.approx((first + math.log(2)) / 2)
    assert (score.top1, score.top5, score.image_count) == (0.5, 1.0, 2)


def test_the_true_class_among_five() -> None:
    logits = torch.arange(8.0).flip(0).repeat(3, 1)  # class 0 first, class 7 last
    tally = MetricSums(CPU)
    tally.add_batch(logits, torch.tensor([0, 4, 5]))
    assert tally.sums.tolist()[1:] == [1, 2, 3]


@pytest.mark.parametrize("pieces", [[12], [1, 11], [5, 5, 2], [1] * 12])
def test_the_figures_do_not_depend_on_the_batches(alone: Accelerator, pieces: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(12, 7, generator=generator), torch.randint(7, (12,), generator=generator)
    tally = MetricSums(CPU)
    for rows, truth in zip(logits.split(pieces), labels.split(pieces), strict=True):
        tally.add_batch(rows, truth)
    score = tally.compute_metrics(alone)
    assert score.loss == pytest.approx(float(F.cross_entropy(logits, labels)), abs=1e-6)
    assert score.top1 == float((logits.argmax(1) == labels).float().mean())
    assert score.image_count == 12


def test_a_repeated_picture_does_not_count(alone: Accelerator) -> None:
    logits, labels = torch.tensor([[3.0, 0.0], [0.0, 3.0]]), torch.tensor([0, 0])
    tally = MetricSums(CPU)
    tally.add_batch(logits, labels, torch.tensor([1.0, 0.0]))
    assert (tally.compute_metrics(alone).top1, tally.compute_metrics(alone).image_count) == (1.0, 1)


def test_no_picture_is_no_figure_and_no_division(alone: Accelerator) -> None:
    assert MetricSums(CPU).compute_metrics(alone) == Metrics(None, None, None, 0)


def test_sums_go_on_from_what_was_kept(alone: Accelerator) -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    whole, first = MetricSums(CPU), MetricSums(CPU)
    for tally in (whole, first):
        tally.add_batch(logits[:2], labels[:2])
    second = MetricSums(CPU, first.sums.tolist())
    for tally in (whole, second):
        tally.add_batch(logits[2:], labels[2:])
    assert whole.compute_metrics(alone) == second.compute_metrics(alone)


def test_a_loss_that_is_no_number_is_told_as_it_is(alone: Accelerator) -> None:
    tally = MetricSums(CPU)
    tally.add_batch(torch.tensor([[math.nan, 0.0]]), torch.tensor([0]))
    loss = tally.compute_metrics(alone).loss
    assert loss is not None
    assert math.isnan(loss)


def test_adding_leaves_no_graph() -> None:
    logits = torch.zeros(1, 2, requires_grad=True)
    tally = MetricSums(CPU)
    tally.add_batch(logits, torch.tensor([0]))
    assert not tally.sums.requires_grad


@pytest.mark.parametrize("pieces", [[12], [1, 11], [5, 5, 2], [1] * 40])
def test_batches_that_are_worked_out_together_are_the_same_to_the_bit(pieces: list[int]) -> None:
    """A resumed training has other ones together than the undisturbed one."""
    generator, count = torch.Generator().manual_seed(0), sum(pieces)
    logits, labels = torch.randn(count, 7, generator=generator), torch.randint(7, (count,), generator=generator)
    weight = (torch.rand(count, generator=generator) < 0.8).float()
    whole, parts, more = MetricSums(CPU), MetricSums(CPU), MetricSums(CPU, [1.0, 2.0, 3.0, 4.0])
    whole.add_batch(logits, labels, weight)
    together = BatchedMetricSums(parts, more)
    for batch in zip(logits.split(pieces), labels.split(pieces), weight.split(pieces), strict=True):
        together.add_batch(*batch)
    for _ in range(2):  # nothing is counted twice
        together.flush()
    assert parts.sums.tolist() == whole.sums.tolist()
    assert (more.sums - parts.sums).tolist() == pytest.approx([1.0, 2.0, 3.0, 4.0])


def test_what_is_still_to_be_worked_out_may_be_overwritten() -> None:
    """As the answers of recorded passes are by the next step."""
    tally, logits = MetricSums(CPU), torch.tensor([[0.0, 1.0]])
    together = BatchedMetricSums(tally)
    together.add_batch(logits, torch.tensor([1]), torch.ones(1))
    logits.zero_()
    together.flush()
    assert tally.sums.tolist()[0] == pytest.approx(math.log(1 + math.exp(-1)))
