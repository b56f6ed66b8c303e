"""Evaluation of a run on labelled images, with the fastest engine whose outputs match those of a prediction.

python -m ftlab evaluate latest --split test
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ftlab.core.errors import DataError
from ftlab.data.dataset import deep_images
from ftlab.data.images.decode_options import ValueRanges
from ftlab.data.shards import remote_images
from ftlab.evaluation import calibration, datasets, results
from ftlab.evaluation.metrics import EvaluationMetrics, Float64Array, compute_metrics, softmax
from ftlab.evaluation.results import EvaluationDataset, EvaluationResult, ProgressCallback, SkippedImage
from ftlab.inference import batch_predict, decision_rule, load_model
from ftlab.inference.decision_rule import DecisionRule
from ftlab.inference.predictor import Predictor
from ftlab.runs.directory import Run


@dataclass(frozen=True)
class Evaluation:
    """A result together with the decision rule that its probabilities are read by.

    Attributes:
        result: result of at least one image.
        decision: fitted on validation; None where the validation images no longer exist.
        value_ranges: that the model saw deep images at.
    """

    result: EvaluationResult
    decision: DecisionRule | None
    value_ranges: ValueRanges | None = ValueRanges()

    @property
    def is_validation(self) -> bool:
        """Return whether the result is of the images that the decision rule was fitted on."""
        return self.result.dataset_name == "val"

    @property
    def temperature(self) -> float:
        """Return the temperature of the decision rule, or 1."""
        return self.decision.temperature if self.decision else 1.0

    @cached_property
    def metrics(self) -> EvaluationMetrics:
        """Return the metrics of the result."""
        return compute_metrics(self.result)

    @cached_property
    def probabilities(self) -> Float64Array:
        """Return the probability of every class at the temperature, float64 [N, K]."""
        return softmax(self.result.logits, self.temperature)

    @cached_property
    def confidences(self) -> Float64Array:
        """Return the probability of each prediction, float64 [N]."""
        confidences: Float64Array = self.probabilities.max(1)
        return confidences

    @property
    def rejected_count(self) -> int:
        """Return the number of images that would be rejected as none of these."""
        return sum(map(self.decision.rejects_probability, self.confidences.tolist())) if self.decision else 0


def evaluate_with_decision(
    run: Run,
    dataset: EvaluationDataset,
    weights_choice: str = "best",
    progress: ProgressCallback = lambda *_: None,
) -> Evaluation:
    """Evaluate a run, and fit the decision rule on its validation split; both are read from the run if stored.

    Propagates the `RunError` and `DataError` of `evaluate` for `dataset`, and that of `add_decision`.

    Args:
        run: run with weights.
        dataset: images of a split or a folder.
        weights_choice: `best` or `last`.
        progress: called as images are done.

    Returns:
        The evaluation; without a decision rule where the validation images are gone or there are none.
    """
    return add_decision(run, evaluate(run, dataset, weights_choice, progress), weights_choice, progress)


def add_decision(
    run: Run, result: EvaluationResult, weights_choice: str, progress: ProgressCallback = lambda *_: None
) -> Evaluation:
    """Return a result with the decision rule of its run; see `evaluate_with_decision`.

    Args:
        run: run with weights.
        result: of its model.
        weights_choice: `best` or `last`.
        progress: called as images of the validation split are done.

    Returns:
        The evaluation.

    Raises:
        DataError: the validation images fail, but for being gone.
    """
    value_ranges = deep_images.read_recorded_ranges(run)
    try:
        return Evaluation(result, load_or_fit_decision(run, weights_choice, progress), value_ranges)
    except DataError as error:
        # New images can be evaluated although the validation images are gone; only calibration is missing then.
        if error.code not in ("data.gone", "data.empty_split"):
            raise
        return Evaluation(result, None, value_ranges)


def load_evaluation(run: Run, dataset: EvaluationDataset, weights_choice: str = "best") -> Evaluation | None:
    """Return a stored evaluation, without a forward pass.

    Propagates `RunError` where `decision.json` cannot be read.

    Args:
        run: run with weights.
        dataset: images of a split or a folder.
        weights_choice: `best` or `last`.

    Returns:
        The evaluation, or None where `evaluate_with_decision` is needed.
    """
    result = results.read_result(run, dataset, weights_choice)
    if result is None:
        return None
    decision = decision_rule.read_decision(run) if weights_choice == "best" else None
    if decision is None:
        # Not stored, or of the last weights, whose rule never is: fitted again on the stored validation result.
        validation_result = results.read_result(run, datasets.load_split_dataset(run, "val"), weights_choice)
        decision = calibration.fit_decision(validation_result) if validation_result else None
    return Evaluation(result, decision, deep_images.read_recorded_ranges(run))


def evaluate(
    run: Run,
    dataset: EvaluationDataset,
    weights_choice: str = "best",
    progress: ProgressCallback = lambda *_: None,
) -> EvaluationResult:
    """Return the logits of a run's model for labelled images, from the stored result or a new forward pass.

    A new result is stored in the run. Logits equal those of `Predictor` up to rounding (float32, about 1e-6 of the
    largest), for any batch size. Propagates `RunError` (no such weights, damaged weights, the result cannot be written)
    and `DataError` (none of the images can be read).

    Args:
        run: run with weights.
        dataset: images of a split or a folder.
        weights_choice: `best` or `last`.
        progress: called as images are done.

    Returns:
        The result.
    """
    cached_result = results.read_result(run, dataset, weights_choice)
    if cached_result is not None:
        return cached_result
    # Before the weights are loaded: a training may replace them meanwhile, and the result must not count for those.
    weights_checksum = results.compute_weights_checksum(run, weights_choice)
    result = predict_dataset(
        load_model.load_predictor(run, weights_choice), dataset, weights_choice, weights_checksum, progress
    )
    results.write_result(run, result, dataset.fingerprint)
    return result


def predict_dataset(
    model: Predictor,
    dataset: EvaluationDataset,
    weights_choice: str = "best",
    weights_checksum: str = "",
    progress: ProgressCallback = lambda *_: None,
) -> EvaluationResult:
    """Run the forward pass over labelled images; reads nothing from the run and stores nothing.

    Args:
        model: the model.
        dataset: images of a split or a folder.
        weights_choice: as in `EvaluationResult`.
        weights_checksum: as in `EvaluationResult`.
        progress: called as images are done.

    Returns:
        The result.

    Raises:
        DataError: none of the images can be read.
    """
    start_time, items = time.monotonic(), dataset.items
    image_paths = [remote_images.to_image_source(dataset.root / item.path) for item in items]
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
            # Relative paths, as in the data set: a stored result and a report must not name folders of this machine.
            SkippedImage(path, read_error.code, {**read_error.values, "file": path})
            for path, read_error in read_errors
        ),
        dataset.unknown_classes,
        weights_checksum,
        time.monotonic() - start_time,
    )


def load_or_fit_decision(
    run: Run, weights_choice: str = "best", progress: ProgressCallback = lambda *_: None
) -> DecisionRule:
    """Return the decision rule of a run, fitted on its validation split if it is not stored.

    That of the best weights is stored in the run, where predictions find it. Propagates the `RunError` and `DataError`
    of `evaluate`.

    Args:
        run: run with weights.
        weights_choice: `best` or `last`.
        progress: called as images are done.

    Returns:
        The decision rule.
    """
    decision = decision_rule.read_decision(run) if weights_choice == "best" else None
    if decision is None:
        decision = calibration.fit_decision(
            evaluate(run, datasets.load_split_dataset(run, "val"), weights_choice, progress)
        )
        if weights_choice == "best":
            decision_rule.write_decision(run, decision)
    return decision
