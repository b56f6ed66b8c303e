"""How far probabilities can be believed: the published error, the best temperature, the promised threshold."""

from __future__ import annotations

import numpy as np
import pytest

from ftlab.evaluation import calibration
from ftlab.evaluation.results import EvaluationResult
from tests.support.known_evaluations import outcome, told


def drawn(n: int, heat: float, seed: int = 0) -> EvaluationResult:
    """Pictures whose true classes are drawn by the softmax of logits; told are those logits times `heat`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 3))
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = [int(rng.choice(3, p=row)) for row in chances]
    return outcome(labels, (logits * heat).tolist())


def loss(found: EvaluationResult, temperature: float) -> float:
    scaled = found.logits.astype(float) / temperature
    chances = np.exp(scaled) / np.exp(scaled).sum(1, keepdims=True)
    return float(-np.log(chances[np.arange(len(chances)), found.labels]).mean())


def test_the_error_is_the_mean_gap_between_sureness_and_accuracy() -> None:
    # Four answers at 0.9, three of them right; two at 0.5, one of them right.
    found = told([(0, 0, 0.9)] * 3 + [(1, 0, 0.9)] + [(0, 0, 0.5), (1, 0, 0.5)])
    made = calibration.compute_reliability(found)
    assert made.calibration_error == pytest.approx((4 * 0.15 + 2 * 0.0) / 6)
    full = np.flatnonzero(made.counts)
    assert made.counts[full].tolist() == [2, 4]
    assert made.accuracy[full] == pytest.approx([0.5, 0.75])
    assert made.confidence[full] == pytest.approx([0.5, 0.9])
    assert full.tolist() == [7, 13]  # 0.5 lies in (7/15, 8/15], 0.9 in (13/15, 14/15]


def test_a_certain_answer_falls_into_the_last_step() -> None:
    assert calibration.compute_reliability(outcome([0], [[1000, 0, 0]])).counts[-1] == 1


@pytest.mark.parametrize("heat", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_by_which_the_logits_were_too_hot(heat: float) -> None:
    found = drawn(4000, heat)
    scale = calibration.fit_temperature(found.logits, found.labels)
    assert scale == pytest.approx(heat, rel=0.1)
    assert loss(found, scale) <= min(loss(found, scale * 0.98), loss(found, scale * 1.02))
    assert calibration.compute_reliability(found, scale).calibration_error < 0.03


def test_what_says_nothing_leaves_the_probabilities_as_they_are() -> None:
    few = told([(0, 0, 0.6)] * 10 + [(0, 1, 0.6)] * 9)
    faultless = told([(0, 0, 0.6)] * 100)
    broken = outcome([0] * 30, [[np.nan, 0, 0]] * 30)
    for found in (few, faultless, broken):
        assert calibration.fit_temperature(found.logits, found.labels) == 1.0


def test_the_threshold_lets_95_of_100_right_answers_pass() -> None:
    sure = [0.50 + 0.004 * step for step in range(100)]
    found = told([(0, 0, one) for one in sure] + [(1, 2, 0.4)])
    decided = calibration.fit_decision(found)
    scaled = np.sort(
        np.exp(found.logits[:100, 0].astype(float) / decided.temperature - _log_sum(found, decided.temperature))
    )
    assert (scaled >= decided.threshold - 1e-12).sum() == 95
    assert (decided.pictures, decided.right) == (101, 100)
    assert decided.rejects_probability(decided.threshold - 1e-9)
    assert not decided.rejects_probability(decided.threshold)


def test_with_few_right_answers_nothing_is_refused() -> None:
    decided = calibration.fit_decision(told([(0, 0, 0.9)] * 19 + [(0, 1, 0.9)] * 30))
    assert decided.threshold == 0
    assert not decided.rejects_probability(0.0)


def _log_sum(found: EvaluationResult, temperature: float) -> np.ndarray:
    total: np.ndarray = np.log(np.exp(found.logits[:100].astype(float) / temperature).sum(1))
    return total
