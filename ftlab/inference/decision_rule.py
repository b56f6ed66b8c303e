"""Decision rule of a run: a temperature and a rejection threshold chosen on validation, kept in `decision.json`.

`evaluation/calibration.py` chooses them; every prediction uses them.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

from ftlab.core import json_fields
from ftlab.core.errors import RunError
from ftlab.models import weights_file
from ftlab.runs.directory import Run

DECISION_FILENAME = "decision.json"


@dataclass(frozen=True)
class DecisionRule:
    """Calibration of a model's probabilities, as chosen on validation.

    Attributes:
        weights: checksum of the weights that it was chosen for.
        temperature: divisor of the logits before the softmax; 1 leaves them as they are.
        threshold: probability of the most probable class below which a prediction is rejected; 0 rejects none.
        pictures: number of validation images.
        right: number of these whose most probable class was right.
    """

    weights: str
    temperature: float
    threshold: float
    pictures: int
    right: int

    def rejects_probability(self, probability: float) -> bool:
        """Return whether a prediction is rejected, given the probability of its most probable class."""
        return probability < self.threshold


def read_decision(run: Run) -> DecisionRule | None:
    """Read the decision rule for a run's best weights.

    Args:
        run: a run of any status.

    Returns:
        The rule; None if there is none, or only one for other weights.

    Raises:
        RunError: the file is damaged.
    """
    # A folder or a broken link of this name is no missing rule.
    if not os.path.lexists(run.path / DECISION_FILENAME):
        return None
    try:
        decision = json_fields.build_dataclass(DecisionRule, json_fields.read_json_object(run.path / DECISION_FILENAME))
    except (TypeError, ValueError, OSError) as cause:
        raise RunError("run.decision", run=run.name, file=DECISION_FILENAME) from cause
    if decision.temperature <= 0:
        raise RunError("run.decision", run=run.name, file=DECISION_FILENAME)
    try:
        # A training that went on may have found better weights: their probabilities need a rule of their own.
        return decision if decision.weights == weights_file.read_checksum(run.best_weights_path) else None
    except (weights_file.CorruptFileError, OSError) as cause:
        raise RunError("run.file", run=run.name, file=run.best_weights_path.name) from cause


def write_decision(run: Run, decision: DecisionRule) -> None:
    """Write a decision rule into a run. A full disk, or a folder without write permission, gives RunError.

    Args:
        run: that gets the file.
        decision: the rule.
    """
    run.write_json(DECISION_FILENAME, asdict(decision))
