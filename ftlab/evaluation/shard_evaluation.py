"""Evaluation of a run on tar shards: one pass in order, of which only logits, labels and names are kept."""

from __future__ import annotations

import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from ftlab.core.errors import DataError
from ftlab.data.shards.shard_list import ShardList
from ftlab.data.shards.shard_sample import ShardProblem, ShardSample
from ftlab.data.shards.stream import ShardStream
from ftlab.data.sources.listing import natural_key
from ftlab.evaluation import evaluate, results
from ftlab.evaluation.evaluate import Evaluation
from ftlab.evaluation.results import EvaluationResult, ProgressCallback, SkippedImage
from ftlab.inference import batch_predict, load_model
from ftlab.runs.directory import Run

RESULT_NAME = "shards"


class _KnownSamples:
    """The samples of a stream whose class a model knows.

    Attributes:
        unknown_counts: samples of each other class.
    """

    def __init__(self, class_names: tuple[str, ...]) -> None:
        """Remember the classes of a model."""
        # NFC: macOS stores accents decomposed, other systems composed; both must name the same class.
        self._labels = {unicodedata.normalize("NFC", name): label for label, name in enumerate(class_names)}
        self._class_count = len(class_names)
        self.unknown_counts: Counter[str] = Counter()

    def find_label(self, sample: ShardSample) -> int | None:
        """Return the model's label of a sample, by the name of its class, or its label where shards have no names."""
        if sample.class_name is not None:
            return self._labels.get(unicodedata.normalize("NFC", sample.class_name))
        return sample.label if sample.label is not None and sample.label < self._class_count else None

    def keep(self, sample: ShardSample) -> bool:
        """Return whether the class of a sample is known, and count it if not."""
        is_known = self.find_label(sample) is not None
        if not is_known:
            self.unknown_counts[sample.class_name if sample.class_name is not None else str(sample.label)] += 1
        return is_known


def evaluate_shards(
    run: Run,
    shards: ShardList,
    weights_choice: str = "best",
    *,
    on_problem: Callable[[ShardProblem], None] = lambda _: None,
    progress: ProgressCallback = lambda *_: None,
) -> Evaluation:
    """Evaluate a run on the samples of shards. The result is not stored in the run.

    Propagates the errors of `evaluate.add_decision`.

    Args:
        run: run with weights.
        shards: to read.
        weights_choice: `best` or `last`.
        on_problem: called with each thing in the shards that is not used.
        progress: called as (images done, images by the index, or 0).

    Returns:
        The evaluation.

    Raises:
        DataError: no sample is of a class of the model, no image can be decoded, or a shard cannot be read.
    """
    checksum, start_time = results.compute_weights_checksum(run, weights_choice), time.monotonic()
    model = load_model.load_predictor(run, weights_choice)
    known = _KnownSamples(model.class_names)
    paths, labels, logits, skipped_images = list[str](), list[int](), list[Tensor](), list[SkippedImage]()
    total_count = shards.count_samples()
    samples = filter(known.keep, ShardStream(shards, on_problem=on_problem))
    for sample, answer in batch_predict.predict_samples(model, samples, total_count):
        name, label = sample.name, known.find_label(sample)
        if isinstance(answer, Tensor) and label is not None:
            paths.append(name)
            labels.append(label)
            logits.append(answer)
        elif not isinstance(answer, Tensor):
            skipped_images.append(SkippedImage(name, answer.code, {**answer.values, "file": name}))
        progress(len(paths) + len(skipped_images), total_count or 0)
    if not logits and known.unknown_counts and not skipped_images:
        unknown_names = ", ".join(sorted(known.unknown_counts, key=natural_key)[:5])
        known_names = ", ".join(model.class_names[:8])
        raise DataError("data.no_known_class", folder=shards.source, found=unknown_names, names=known_names)
    if not logits:
        raise DataError("data.gone", folder=shards.source)
    result = EvaluationResult(
        RESULT_NAME,
        weights_choice,
        model.class_names,
        Path(shards.source),
        tuple(paths),
        np.array(labels, np.int64),
        np.stack([row.numpy() for row in logits]),
        tuple(skipped_images),
        tuple(sorted(known.unknown_counts.items(), key=lambda entry: natural_key(entry[0]))),
        checksum,
        time.monotonic() - start_time,
    )
    return evaluate.add_decision(run, result, weights_choice)
