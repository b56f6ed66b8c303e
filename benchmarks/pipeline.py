"""Throughput of feature extraction and prediction from files, as a share of the limit that the CPU cores set.

    python -m benchmarks.pipeline FOLDER --backbone mobilenet_v2 --rounds 5

The limit is 1 / (decoding + engine), each measured alone on all cores: seconds per image of decoding and resizing in as
many threads as there are cores, and of the fastest engine, over batches of one to eight images. Each round runs all of
them in turn; the results are medians of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.row import measure_seconds, report_at_least
from ftlab.config import backbones
from ftlab.core.machine import count_cpu_cores
from ftlab.data.dataset import scan
from ftlab.data.images.decode import read_image
from ftlab.data.transforms import preprocess
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.inference import batch_predict
from ftlab.inference.predictor import Predictor
from ftlab.models import network
from ftlab.models.execution import engines, features
from ftlab.models.execution.engines import Engine

BATCH_SIZES = (1, 4, 8)
"""Of the engine alone; the fastest counts."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--pictures", type=int, default=398)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(count_cpu_cores())
    image_catalog = scan.scan(options.folder, check=False)
    files = [image_catalog.image_path(item) for split in image_catalog.splits.values() for item in split]
    files = list(islice(cycle(files), options.pictures))
    spec = backbones.get_backbone_spec(options.backbone)
    preprocessing = preprocess.from_spec(spec)
    net = network.build_network(spec, 10, pretrained=False)
    model = Predictor(net, spec, preprocessing, tuple(map(str, range(10))), spec.title)
    backbone_engine = choose_feature_engine(model)
    prediction_engine = batch_predict.choose_engine(model, 10_000)
    pixels = torch.stack([_decode_image(preprocessing, file) for file in files[:8]])
    seconds_per_image: dict[str, list[float]] = {}
    for round_index in range(options.rounds + 1):
        timings = {
            "decoding": measure_seconds(partial(_decode_all, preprocessing, files)),
            **{
                f"engine {size}": measure_seconds(partial(_run_engine, backbone_engine, pixels[:size], len(files)))
                for size in BATCH_SIZES
            },
            "features": measure_seconds(partial(compute_features, backbone_engine, preprocessing, files)),
            "predictions": measure_seconds(partial(_predict_images, model, prediction_engine, files)),
        }
        if round_index:  # the first round warms up file cache and allocator
            for name, duration in timings.items():
                seconds_per_image.setdefault(name, []).append(duration / len(files))
    # The limit is set by the batch size at which the engine is fastest.
    engine_seconds = [
        min(values) for values in zip(*(seconds_per_image[f"engine {size}"] for size in BATCH_SIZES), strict=True)
    ]
    # Work that overlaps perfectly takes, on all cores together, the sum of both per image.
    limit_ratios = [
        (d + e) / f
        for d, e, f in zip(seconds_per_image["decoding"], engine_seconds, seconds_per_image["features"], strict=True)
    ]
    pace_ratios = [f / p for f, p in zip(seconds_per_image["features"], seconds_per_image["predictions"], strict=True)]
    details = ", ".join(f"{name} {1 / statistics.median(values):.0f}/s" for name, values in seconds_per_image.items())
    details += f"; {backbone_engine.name}, {len(files)} pictures, {count_cpu_cores()} threads"
    report_at_least(
        f"Feature extraction, {spec.title}: images/s relative to the limit set by decoding and network",
        statistics.median(limit_ratios),
        0.92,
        "×",
        details,
    )
    report_at_least(
        f"Prediction of a folder, {spec.title}: images/s relative to feature extraction",
        statistics.median(pace_ratios),
        0.8,
        "×",
        details,
    )


def choose_feature_engine(model: Predictor) -> Engine:
    """Return the engine that extracts the features of a large data set with a model's backbone, on the CPU."""
    return engines.choose_engine(
        model.network.backbone,
        model.spec,
        partial(preprocess.normalize_batch, prep=model.prep),
        model.prep.side,
        torch.device("cpu"),
        view_count=10_000,
    )


def _decode_image(preprocessing: Preprocessing, path: Path) -> Tensor:
    """Return the preprocessed image, uint8 [3, S, S]."""
    return preprocess.resize_and_center_crop(read_image(path, preprocessing.decode_options), preprocessing)


def _decode_all(preprocessing: Preprocessing, paths: Sequence[Path]) -> None:
    """Decode and preprocess all files in as many threads as there are cores."""
    with _create_pool() as pool:
        for start in range(0, len(paths), 64):  # in pieces: decoded images are dropped, not collected
            list(pool.map(partial(_decode_image, preprocessing), paths[start : start + 64]))


def _run_engine(engine: Engine, pixels: Tensor, image_count: int) -> None:
    """Run the engine on as many images as there are files, a batch per thread at a time."""
    with _create_pool() as pool:
        for _ in pool.map(lambda _: engine(pixels), range(image_count // len(pixels))):
            pass


def compute_features(engine: Engine, preprocessing: Preprocessing, paths: Sequence[Path]) -> None:
    """Compute the features of all files as a training does."""

    def decode_view(index: int) -> Tensor:
        return _decode_image(preprocessing, paths[index])[None]

    *_, last = features.compute_features(engine, len(paths), 1, decode_view, torch.device("cpu"), count_cpu_cores())
    assert isinstance(last, features.Features)
    assert len(last.indices) == len(paths)


def _predict_images(model: Predictor, engine: Engine, paths: Sequence[Path]) -> None:
    """Predict all files as `ftlab predict` does."""
    results = batch_predict.predict_logits(model, engine, paths)
    assert [len(model.rank_classes(vector, 5)) for vector in results.vectors[0]] == [5] * len(paths)


def _create_pool() -> ThreadPoolExecutor:
    """Return a pool with a thread for each core, in each of which torch runs single-threaded."""
    # Without a team of threads in each, which would compete for the same cores.
    return ThreadPoolExecutor(count_cpu_cores(), initializer=torch.set_num_threads, initargs=(1,))


if __name__ == "__main__":
    main()
