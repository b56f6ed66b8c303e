"""Which pictures are shown, in what order."""

from __future__ import annotations

from ftlab.evaluation import selection
from tests.support.known_evaluations import inspection, told

FOUND = inspection(told([(0, 0, 0.9), (0, 1, 0.5), (1, 2, 0.8), (1, 1, 0.6), (2, 2, 0.99), (0, 1, 0.7)]))


def test_the_surest_mistakes_come_first() -> None:
    assert selection.select_images("mistakes", FOUND.result, FOUND.confidences) == [2, 5, 1]


def test_the_least_sure_hits_come_first() -> None:
    assert selection.select_images("hits", FOUND.result, FOUND.confidences) == [3, 0, 4]


def test_at_random_is_all_of_them_mixed_by_the_seed() -> None:
    one, other = (selection.select_images("random", FOUND.result, FOUND.confidences, seed) for seed in (0, 1))
    assert sorted(one) == sorted(other) == list(range(6))
    assert one != other
    assert one == selection.select_images("random", FOUND.result, FOUND.confidences, 0)


def test_a_confusion_holds_its_pictures_the_surest_first() -> None:
    assert selection.select_confusion_cell(FOUND.result, FOUND.confidences, 0, 1) == [5, 1]
    assert selection.select_confusion_cell(FOUND.result, FOUND.confidences, 2, 2) == [4]
    assert selection.select_confusion_cell(FOUND.result, FOUND.confidences, 2, 0) == []
