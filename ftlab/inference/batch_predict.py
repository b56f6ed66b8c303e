"""Many pictures through one model: by the fastest engine there is for it, on all cores, each picture alone.

What it says of a picture is what `Predictor.top` says but for rounding (float32, about 1e-6 of the largest logit).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from ftlab.core.errors import ImageError
from ftlab.core.machine import count_cpu_cores
from ftlab.data.images.decode import read_image
from ftlab.data.transforms import preprocess
from ftlab.inference.predictor import ClassScore, Predictor
from ftlab.models.execution import engines, features
from ftlab.models.execution.engines import Engine
from ftlab.models.execution.features import Features
from ftlab.training.devices import device_setup

CHUNK_IMAGES = 1024
"""Pictures that are answered together: of more, their logits alone would fill the memory."""


def choose_engine(model: Predictor, image_count: int) -> Engine:
    """The fastest that there is for so many looks: uint8 [B, 3, side, side] -> logits float32 [B, K]."""
    full_network = nn.Sequential(model.network.backbone, model.network.head)
    normalize = partial(preprocess.normalize_batch, prep=model.prep)
    device = torch.device(device_setup.detect_device())
    return engines.choose_engine(full_network, model.spec, normalize, model.prep.side, device, view_count=image_count)


def predict_logits(
    model: Predictor,
    engine: Engine,
    image_paths: Sequence[Path],
    progress: Callable[[int, int], None] = lambda completed, total: None,
) -> Features:
    """Logits of all files that can be read, as `vectors` float32 [1, N, K].

    Args:
        engine: of `choose_engine`.
        progress: called as pictures are done.
    """

    def load_pixels(index: int) -> Tensor:
        return preprocess.resize_and_center_crop(
            read_image(image_paths[index], min_side=model.prep.min_side), model.prep
        )[None]

    logit_features = Features(torch.empty(1, 0, 0), [], [])
    for update in features.compute_features(
        engine, len(image_paths), 1, load_pixels, torch.device(device_setup.detect_device()), count_cpu_cores()
    ):
        if isinstance(update, Features):
            logit_features = update
        else:
            progress(update, len(image_paths))
    return logit_features


def predict_files(
    model: Predictor, image_paths: Sequence[Path], k: int
) -> Iterator[tuple[Path, list[ClassScore] | ImageError]]:
    """The k most probable classes of each file in turn, or why it cannot be read."""
    inference_engine = choose_engine(model, len(image_paths))
    for start in range(0, len(image_paths), CHUNK_IMAGES):
        chunk = image_paths[start : start + CHUNK_IMAGES]
        logit_features = predict_logits(model, inference_engine, chunk)
        logits_by_index = dict(zip(logit_features.indices, logit_features.vectors[0], strict=True))
        read_errors = dict(logit_features.skipped)
        for index, image_path in enumerate(chunk):
            yield (
                image_path,
                model.rank_classes(logits_by_index[index], k) if index in logits_by_index else read_errors[index],
            )
