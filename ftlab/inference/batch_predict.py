"""Prediction for many image files, or for a stream of samples, by the fastest engine for the model, on all cores.

Each image goes through the network alone. The probabilities are those of `Predictor.predict` but for float32 rounding,
about 1e-6 of the largest logit: the engine folds BatchNorm, or is ONNX Runtime.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from ftlab.core.errors import ImageError
from ftlab.core.machine import count_cpu_cores
from ftlab.data.isolation import isolated
from ftlab.data.isolation.worker_main import ImageSource
from ftlab.data.shards.shard_sample import ShardSample
from ftlab.data.transforms import preprocess
from ftlab.inference.predictor import ClassScore, Predictor
from ftlab.models.execution import engines, features
from ftlab.models.execution.device import detect_device
from ftlab.models.execution.engines import Engine
from ftlab.models.execution.features import Features

CHUNK_IMAGES = 1024
"""Images predicted before their scores are yielded: the logits of a larger folder would fill the memory."""
CHUNK_SAMPLES = 256
"""Samples in memory, as encoded images: so many are predicted before their logits are yielded."""


def choose_engine(model: Predictor, image_count: int, engine_name: str = "auto") -> Engine:
    """Choose the engine that runs the whole network, backbone and head.

    Args:
        model: to be run.
        image_count: images it will see; exporting to ONNX is only tried where there are enough to repay it.
        engine_name: `torch`, `onnxruntime`, or `auto` for the faster one.

    Returns:
        An engine, uint8 [B, 3, S, S] -> logits float32 [B, K].
    """
    # One graph up to the logits, so that an exported engine runs the head too.
    full_network = nn.Sequential(model.network.backbone, model.network.head)
    normalize = partial(preprocess.normalize_batch, prep=model.prep)
    device = torch.device(detect_device())
    return engines.choose_engine(
        full_network, model.spec, normalize, model.prep.side, device, view_count=image_count, engine_name=engine_name
    )


def predict_logits(
    model: Predictor,
    engine: Engine,
    image_sources: Sequence[ImageSource],
    progress: Callable[[int, int], None] = lambda _completed, _total: None,
    thread_count: int | None = None,
) -> Features:
    """Compute the logits of all images that can be read.

    Args:
        model: whose preprocessing is applied.
        engine: from `choose_engine`.
        image_sources: N files, or streams that are read once.
        progress: called as (images done, N).
        thread_count: threads that decode and compute; None: one for each core.

    Returns:
        The logits in `vectors`, float32 [1, N', K] for the N' readable ones of `indices`; the others are in `skipped`.
    """

    def load_pixels(index: int) -> Tensor:
        pixels = isolated.read_image(image_sources[index], model.prep.decode_options)
        return preprocess.resize_and_center_crop(pixels, model.prep)[None]

    logit_features = Features(torch.empty(1, 0, 0), [], [])
    for update in features.compute_features(
        engine,
        len(image_sources),
        1,
        load_pixels,
        torch.device(detect_device()),
        thread_count or count_cpu_cores(),
    ):
        if isinstance(update, Features):
            logit_features = update
        else:
            progress(update, len(image_sources))
    return logit_features


def predict_files(
    model: Predictor, image_paths: Sequence[Path], k: int
) -> Iterator[tuple[Path, list[ClassScore] | ImageError]]:
    """Predict the most probable classes of each file, in the order given.

    Args:
        model: to be run.
        image_paths: of the files.
        k: classes to return for each file, at most.

    Yields:
        Each path with its scores, the most probable class first, or with the error where the file cannot be read.
    """
    inference_engine = choose_engine(model, len(image_paths))
    # One engine for all chunks: choosing it may take an export of seconds.
    for start in range(0, len(image_paths), CHUNK_IMAGES):
        yield from predict_chunk(model, inference_engine, image_paths[start : start + CHUNK_IMAGES], k)


def predict_chunk(
    model: Predictor, engine: Engine, image_paths: Sequence[Path], k: int, thread_count: int | None = None
) -> Iterator[tuple[Path, list[ClassScore] | ImageError]]:
    """Predict the most probable classes of a few files, all of whose logits fit into memory.

    Args:
        model: to be run.
        engine: from `choose_engine`.
        image_paths: of the files.
        k: classes to return for each file, at most.
        thread_count: see `predict_logits`.

    Yields:
        See `predict_files`.
    """
    answers = list_answers(predict_logits(model, engine, image_paths, thread_count=thread_count))
    for image_path, answer in zip(image_paths, answers, strict=True):
        yield image_path, model.rank_classes(answer, k) if isinstance(answer, Tensor) else answer


def list_answers(logit_features: Features) -> list[Tensor | ImageError]:
    """Return what `predict_logits` has computed, in the order of the images: logits, float32 [K], or the error."""
    rows = zip(logit_features.indices, logit_features.vectors[0], strict=True)
    answers: dict[int, Tensor | ImageError] = {**dict(rows), **dict(logit_features.skipped)}
    return [answers[index] for index in range(len(answers))]


def predict_samples(
    model: Predictor, samples: Iterable[ShardSample], sample_count: int | None
) -> Iterator[tuple[ShardSample, Tensor | ImageError]]:
    """Compute the logits of each sample, in order. The images are decoded in worker processes, as files are.

    Args:
        model: to be run.
        samples: from a stream.
        sample_count: number of samples, for the choice of an engine; None where it is not known, and then many.

    Yields:
        Each sample with its logits, float32 [K], or with the error where its image cannot be decoded.
    """
    inference_engine = choose_engine(model, CHUNK_SAMPLES if sample_count is None else sample_count)
    iterator = iter(samples)
    while chunk := list(itertools.islice(iterator, CHUNK_SAMPLES)):
        logit_features = predict_logits(model, inference_engine, [sample.open_image() for sample in chunk])
        yield from zip(chunk, list_answers(logit_features), strict=True)
