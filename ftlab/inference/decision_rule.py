"""How a run's probabilities are to be read: a temperature and a threshold, chosen on validation, in `decision.json`.

`evaluation/calibration.py` chooses them. Whatever names a class uses them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ftlab.core.errors import RunError
from ftlab.models import weights_file
from ftlab.runs.directory import Run

DECISION_FILENAME = "decision.json"


@dataclass(frozen=True)
class DecisionRule:
    """What validation says about a model's probabilities.

    Attributes:
        weights: checksum of the weights that it was chosen for.
        temperature: by which logits are divided before the softmax; 1 leaves them.
        threshold: probability of the most probable class below which it is not believed; 0 believes any.
        pictures: of validation.
        right: those among them whose most probable class was right.
    """

    weights: str
    temperature: float
    threshold: float
    pictures: int
    right: int

    def rejects_probability(self, probability: float) -> bool:
        """Whether a most probable class of that probability is too improbable to be believed: none of these."""
        return probability < self.threshold


def read_decision(run: Run) -> DecisionRule | None:
    """The decision for a run's best weights; None where there is none, or one for other weights only.

    Raises:
        RunError: the file cannot be read.
    """
    if not (run.path / DECISION_FILENAME).is_file():
        return None
    try:
        decision = DecisionRule(**run.read_json(DECISION_FILENAME))
        return decision if decision.weights == weights_file.read_checksum(run.best_weights_path) else None
    except (TypeError, weights_file.CorruptFileError, OSError) as cause:
        raise RunError("run.file", run=run.name, file=DECISION_FILENAME) from cause


def write_decision(run: Run, decision: DecisionRule) -> None:
    """Keep it in the run.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    run.write_json(DECISION_FILENAME, asdict(decision))
