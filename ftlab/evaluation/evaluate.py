"""One pass of a model over labelled pictures, by the fastest engine that gives what a prediction gives.

python -m ftlab evaluate latest --split test
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ftlab.core.errors import DataError
from ftlab.evaluation import calibration, datasets, results
from ftlab.evaluation.metrics import EvaluationMetrics, Float64Array, compute_metrics, softmax
from ftlab.evaluation.results import EvaluationDataset, EvaluationResult, ProgressCallback, SkippedImage
from ftlab.inference import batch_predict, decision_rule, predictor
from ftlab.inference.decision_rule import DecisionRule
from ftlab.inference.predictor import Predictor
from ftlab.runs.directory import Run


@dataclass(frozen=True)
class Evaluation:
    """An outcome, and how its probabilities are to be read.

    Attributes:
        result: of at least one picture.
        decision: by validation; None where its pictures are not to be had any more.
        is_validation: whether the outcome is of the pictures that the decision was chosen by.
    """

    result: EvaluationResult
    decision: DecisionRule | None

    @property
    def is_validation(self) -> bool:
        return self.result.dataset_name == "val"

    @property
    def temperature(self) -> float:
        """That of the decision, or 1."""
        return self.decision.temperature if self.decision else 1.0

    @cached_property
    def metrics(self) -> EvaluationMetrics:
        """The outcome in numbers."""
        return compute_metrics(self.result)

    @cached_property
    def probabilities(self) -> Float64Array:
        """Of every class, at the temperature: float64 [N, K]."""
        return softmax(self.result.logits, self.temperature)

    @cached_property
    def confidences(self) -> Float64Array:
        """Of the answer: float64 [N]."""
        return self.probabilities.max(1)

    @property
    def rejected_count(self) -> int:
        """Pictures that would be called none of these."""
        return sum(map(self.decision.rejects_probability, self.confidences.tolist())) if self.decision else 0


def evaluate_with_decision(
    run: Run,
    dataset: EvaluationDataset,
    weights_choice: str = "best",
    progress: ProgressCallback = lambda completed, total: None,
) -> Evaluation:
    """An outcome of pictures and one of validation, each as it was kept or made now.

    Raises:
        RunError, DataError: as `evaluate`, of the pictures; that those of validation are gone is borne.
    """
    result = evaluate(run, dataset, weights_choice, progress)
    try:
        return Evaluation(result, load_or_fit_decision(run, weights_choice, progress))
    except DataError as error:
        if error.code not in ("data.gone", "data.empty_split"):
            raise
        return Evaluation(result, None)


def load_evaluation(run: Run, dataset: EvaluationDataset, weights_choice: str = "best") -> Evaluation | None:
    """The same as it was kept, without a pass; None where one is needed.

    Raises:
        RunError: `decision.json` cannot be read.
    """
    result = results.read_result(run, dataset, weights_choice)
    if result is None:
        return None
    decision = decision_rule.read_decision(run) if weights_choice == "best" else None
    if decision is None:
        validation_result = results.read_result(run, datasets.load_split_dataset(run, "val"), weights_choice)
        decision = calibration.fit_decision(validation_result) if validation_result else None
    return Evaluation(result, decision)


def evaluate(
    run: Run,
    dataset: EvaluationDataset,
    weights_choice: str = "best",
    progress: ProgressCallback = lambda completed, total: None,
) -> EvaluationResult:
    """What a run's model says of pictures: as it was kept, else by a pass over them, whose outcome is kept.

    Logits are those of `Predictor` but for rounding (float32, about 1e-6 of the largest), in any batch.

    Args:
        run: with weights.
        dataset: of a split or a folder.
        weights_choice: `best` or `last`.
        progress: called as pictures are done.

    Raises:
        RunError: there are no such weights, they are damaged, or the outcome cannot be written.
        DataError: none of the pictures can be read.
    """
    cached_result = results.read_result(run, dataset, weights_choice)
    if cached_result is not None:
        return cached_result
    # Before they are loaded: weights that get better meanwhile must not be taken for those that were asked.
    weights_checksum = results.compute_weights_checksum(run, weights_choice)
    result = predict_dataset(
        predictor.load_predictor(run, weights_choice), dataset, weights_choice, weights_checksum, progress
    )
    results.write_result(run, result, dataset.fingerprint)
    return result


def predict_dataset(
    model: Predictor,
    dataset: EvaluationDataset,
    weights_choice: str = "best",
    weights_checksum: str = "",
    progress: ProgressCallback = lambda completed, total: None,
) -> EvaluationResult:
    """The pass itself; nothing is read from the run and nothing is kept. `weights_choice` and `weights_checksum` are as in `EvaluationResult`.

    Raises:
        DataError: none of the pictures can be read.
    """
    start_time, items = time.monotonic(), dataset.items
    image_paths = [dataset.root / item.path for item in items]
    logit_features = batch_predict.predict_logits(
        model, batch_predict.choose_engine(model, len(image_paths)), image_paths, progress
    )
    if not logit_features.indices:
        raise DataError("data.gone", folder=dataset.root)
    read_errors = ((items[index].path, cause) for index, cause in logit_features.skipped)
    return EvaluationResult(
        dataset.name,
        weights_choice,
        model.class_names,
        dataset.root,
        tuple(items[index].path for index in logit_features.indices),
        np.array([items[index].label for index in logit_features.indices], np.int64),
        logit_features.vectors[0].numpy(),
        tuple(
            SkippedImage(path, read_error.code, {**read_error.values, "file": path}) for path, read_error in read_errors
        ),
        dataset.unknown_classes,
        weights_checksum,
        time.monotonic() - start_time,
    )


def load_or_fit_decision(
    run: Run, weights_choice: str = "best", progress: ProgressCallback = lambda completed, total: None
) -> DecisionRule:
    """How the model's probabilities are to be read, by validation; of the best model it is kept in the run, where
    predictions find it.

    Raises:
        RunError, DataError: as `evaluate`.
    """
    decision = decision_rule.read_decision(run) if weights_choice == "best" else None
    if decision is None:
        decision = calibration.fit_decision(
            evaluate(run, datasets.load_split_dataset(run, "val"), weights_choice, progress)
        )
        if weights_choice == "best":
            decision_rule.write_decision(run, decision)
    return decision
