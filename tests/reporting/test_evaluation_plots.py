"""Figures of an evaluation show its numbers."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from ftlab.evaluation.evaluate import Evaluation
from ftlab.reporting import evaluation_plots
from tests.support import known_evaluations

FOUND = known_evaluations.inspection(
    known_evaluations.told([(0, 0, 0.9)] * 3 + [(0, 1, 0.7)] + [(1, 1, 0.8)] * 2 + [(2, 0, 0.6)])
)


def test_the_matrix_is_coloured_by_the_share_of_the_row_and_has_its_counts() -> None:
    axis = evaluation_plots.plot_confusion_matrix(FOUND).axes[0]
    shown = np.asarray(axis.images[0].get_array())
    assert shown == pytest.approx(np.array([[0.75, 0.25, 0], [0, 1, 0], [1, 0, 0]]))
    assert sorted(text.get_text() for text in axis.texts) == ["1", "1", "2", "3"]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(known_evaluations.NAMES)
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("Predicted class", "True class")


def test_classes_are_bars_of_precision_and_recall_the_worst_on_top() -> None:
    axis = evaluation_plots.plot_class_metrics(FOUND).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["green", "amber", "blue"]
    bars = [bar.get_width() for bar in axis.patches if isinstance(bar, Rectangle)]
    assert bars == pytest.approx([0, 75, 100 * 2 / 3, 0, 75, 100])


def test_reliability_has_a_diagram_before_and_one_after_the_temperature() -> None:
    assert len(evaluation_plots.plot_reliability(FOUND).axes) == 1
    warm = Evaluation(FOUND.result, known_evaluations.inspection(FOUND.result, temperature=2.0).decision)
    before, after = evaluation_plots.plot_reliability(warm).axes
    assert before.get_title().startswith("As trained: error ")
    assert after.get_title().startswith("With temperature 2.00: error ")


def test_a_hundred_classes_fit_on_a_sheet_and_more_are_cut_to_the_most_confused() -> None:
    count = 130
    classes = tuple(f"c{number}" for number in range(count))
    answers = [(one, one, 0.9) for one in range(count)] + [(129, 128, 0.9)]
    figure = evaluation_plots.plot_confusion_matrix(
        known_evaluations.inspection(known_evaluations.told(answers, classes))
    )
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == evaluation_plots.MAX_PLOTTED_CLASSES
    assert labels[-2:] == ["c128", "c129"]
    assert max(figure.get_size_inches()) <= 14
