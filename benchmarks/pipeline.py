"""How near the way from files to features, and to predictions, comes to what the cores allow.

    python -m benchmarks.pipeline FOLDER --backbone mobilenet_v2 --rounds 5

The limit is 1 / (decoding + engine), each measured alone on all cores: seconds a picture of decoding and scaling in
as many threads as there are cores, and of the fastest engine there is, over batches of one to eight pictures. Each
round runs all of them in turn; the figures are medians of the rounds' ratios.
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

from benchmarks.row import at_least, seconds
from ftlab.config import backbones
from ftlab.core.machine import cores
from ftlab.data.dataset import catalog
from ftlab.data.images.decode import read
from ftlab.data.transforms import preprocess
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.inference import batch_predict
from ftlab.inference.predictor import Predictor
from ftlab.models import network
from ftlab.models.execution import engines, features
from ftlab.models.execution.engines import Engine

BATCHES = (1, 4, 8)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--pictures", type=int, default=398)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(cores())
    found = catalog.scan(options.folder, check=False)
    files = [found.path(item) for split in found.splits.values() for item in split]
    files = list(islice(cycle(files), options.pictures))
    row = backbones.get(options.backbone)
    prep = preprocess.of(row)
    net = network.build(row, 10, pretrained=False)
    model = Predictor(net, row, prep, tuple(map(str, range(10))), row.title)
    run = engines.choose(
        model.network.backbone,
        row,
        partial(preprocess.normalise, prep=prep),
        prep.side,
        torch.device("cpu"),
        looks=10_000,
    )
    answers = batch_predict.engine(model, 10_000)
    pixels = torch.stack([_square(prep, file) for file in files[:8]])
    pace: dict[str, list[float]] = {}
    for number in range(options.rounds + 1):
        taken = {
            "decoding": seconds(partial(_decode, prep, files)),
            **{f"engine {size}": seconds(partial(_engine, run, pixels[:size], len(files))) for size in BATCHES},
            "features": seconds(partial(_features, run, prep, files)),
            "predictions": seconds(partial(_predictions, model, answers, files)),
        }
        if number:  # the first warms files and allocator
            for name, taking in taken.items():
                pace.setdefault(name, []).append(taking / len(files))
    engine = [min(each) for each in zip(*(pace[f"engine {size}"] for size in BATCHES), strict=True)]
    shares = [(d + e) / f for d, e, f in zip(pace["decoding"], engine, pace["features"], strict=True)]
    kept = [f / p for f, p in zip(pace["features"], pace["predictions"], strict=True)]
    seen = ", ".join(f"{name} {1 / statistics.median(each):.0f}/s" for name, each in pace.items())
    seen += f"; {run.name}, {len(files)} pictures, {cores()} threads"
    at_least(f"Features, {row.title}: share of the limit", statistics.median(shares), 0.92, "×", seen)
    at_least(f"A folder's predictions, {row.title}, of the features' pace", statistics.median(kept), 0.8, "×", seen)


def _square(prep: Preprocessing, file: Path) -> Tensor:
    return preprocess.evaluation(read(file, at_least=prep.detail), prep)


def _decode(prep: Preprocessing, files: Sequence[Path]) -> None:
    with _alone() as pool:
        for start in range(0, len(files), 64):
            list(pool.map(partial(_square, prep), files[start : start + 64]))


def _engine(run: Engine, pixels: Tensor, count: int) -> None:
    with _alone() as pool:
        for _ in pool.map(lambda _: run(pixels), range(count // len(pixels))):
            pass


def _features(run: Engine, prep: Preprocessing, files: Sequence[Path]) -> None:
    def view(index: int) -> Tensor:
        return _square(prep, files[index])[None]

    *_, last = features.compute(run, len(files), 1, view, torch.device("cpu"), cores())
    assert isinstance(last, features.Features)
    assert len(last.indices) == len(files)


def _predictions(model: Predictor, run: Engine, files: Sequence[Path]) -> None:
    found = batch_predict.logits(model, run, files)
    assert [len(model.ranked(row, 5)) for row in found.vectors[0]] == [5] * len(files)


def _alone() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), initializer=torch.set_num_threads, initargs=(1,))


if __name__ == "__main__":
    main()
