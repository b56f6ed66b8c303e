"""Figures of an outcome, against values worked out by hand or published."""

from __future__ import annotations

import numpy as np
import pytest

from ftlab.evaluation import metrics
from tests.support.known_evaluations import outcome, told


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        # Newcombe, 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons(right: int, n: int, low: float, high: float) -> None:
    assert metrics.wilson_interval(right, n) == pytest.approx((low, high), abs=5e-5)


def test_all_right_leaves_a_doubt() -> None:
    low, high = metrics.wilson_interval(20, 20)
    assert (low, high) == pytest.approx((0.8389, 1.0), abs=5e-5)
    assert metrics.wilson_interval(20, 20)[1] == 1.0


def test_confusions_and_classes_are_counted() -> None:
    found = told([(0, 0, 0.9), (0, 0, 0.8), (0, 1, 0.7), (1, 1, 0.6), (1, 0, 0.9), (1, 1, 0.9)])
    known = metrics.confusion_matrix(found)
    assert known.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
    amber, _, green = metrics.compute_class_metrics(known)
    assert (amber.image_count, amber.predicted_count) == (3, 3)
    assert (amber.precision, amber.recall, amber.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (green.image_count, green.precision, green.recall, green.f1) == (0, None, None, None)


def test_precision_and_recall_differ_and_f1_lies_between() -> None:
    found = told([(0, 0, 0.9)] * 3 + [(1, 0, 0.9)] + [(0, 1, 0.9)] * 6)
    amber = metrics.compute_class_metrics(metrics.confusion_matrix(found))[0]
    assert (amber.precision, amber.recall) == pytest.approx((3 / 4, 3 / 9))
    assert amber.f1 == pytest.approx(2 / (4 / 3 + 9 / 3))


def test_a_class_that_is_never_named_has_no_precision_and_an_f1_of_zero() -> None:
    blue = metrics.compute_class_metrics(metrics.confusion_matrix(told([(1, 0, 0.9), (0, 0, 0.9)])))[1]
    assert (blue.precision, blue.recall, blue.f1) == (None, 0.0, 0.0)


def test_figures_count_the_first_guess_five_guesses_and_classes_alike() -> None:
    classes = tuple("abcdefg")
    rows = np.zeros((4, 7))
    rows[:, :] = -np.arange(7)
    figures = metrics.compute_metrics(outcome([0, 0, 4, 5], rows.tolist(), classes))
    assert (figures.top1.correct, figures.top1.n, figures.top5.correct) == (2, 4, 3)
    assert figures.balanced_accuracy == pytest.approx((1 + 0 + 0) / 3)
    z = np.log(np.exp(rows[0]).sum())
    assert figures.loss == pytest.approx(z + (0 + 0 + 4 + 5) / 4)


def test_of_equal_logits_the_lower_index_comes_first_as_it_is_predicted() -> None:
    found = outcome([0, 1, 2], [[1, 1, 1]] * 3)
    assert found.predicted_labels.tolist() == [0, 0, 0]
    assert metrics.rank_true_labels(found.logits, found.labels).tolist() == [0, 1, 2]


def test_a_logit_that_is_no_number_is_never_right() -> None:
    found = outcome([0, 1], [[np.nan, 0, 0], [0, np.nan, 0]])
    assert not found.is_correct.any()
    assert metrics.rank_true_labels(found.logits, found.labels).tolist() == [3, 3]


def test_probabilities_add_up_and_a_temperature_makes_them_alike() -> None:
    found = outcome([0], [[1000.0, 0.0, -1000.0]])
    assert metrics.softmax(found.logits).tolist() == [[1, 0, 0]]
    warm = metrics.softmax(found.logits, 1000.0)
    assert warm.sum() == pytest.approx(1)
    assert warm[0] == pytest.approx(np.exp([1, 0, -1]) / np.exp([1, 0, -1]).sum())


def test_of_too_many_classes_those_with_the_most_mistakes_are_shown_in_their_order() -> None:
    known = np.diag([9, 9, 9, 9])
    known[3, 1] = 5
    known[0, 2] = 1
    assert metrics.most_confused_classes(known, 2) == [1, 3]
    assert metrics.most_confused_classes(known, 9) == [0, 1, 2, 3]
