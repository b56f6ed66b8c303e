"""Time of an evaluation relative to a bare forward pass over the same images: `python -m benchmarks.evaluation`.

A is what `ftlab evaluate` does: decode, one pass, metrics, calibration, and the result written to disk. B is a loop as
anybody would write it: the same images decoded ahead in threads, batches of 32, the network under `inference_mode`,
nothing kept. C is the engine of A alone, without what follows from its logits. Each round runs all of them in turn;
printed are seconds, and the medians of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from benchmarks import row
from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core.machine import count_cpu_cores
from ftlab.data.dataset import scan
from ftlab.data.images.decode import read_image
from ftlab.data.loading.loader import batch_indices, load_batches
from ftlab.data.samples import sample_sets
from ftlab.data.transforms import preprocess
from ftlab.evaluation import calibration, evaluate, results
from ftlab.evaluation.evaluate import Evaluation
from ftlab.evaluation.results import EvaluationDataset
from ftlab.inference.predictor import Predictor
from ftlab.models import network
from ftlab.models.execution import engines, features
from ftlab.runs import run_store
from ftlab.runs.directory import Run

BATCH_SIZE = 32
"""Of the bare forward pass."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default=backbones.DEFAULT_BACKBONE)
    parser.add_argument("--data", help="folder of pictures (default: the sample set shapes)")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(count_cpu_cores())
    folder = Path(options.data) if options.data else sample_sets.ensure_sample_set("shapes")
    with TemporaryDirectory() as scratch:
        run = run_store.create_run(scratch, TrainConfig(data=str(folder), backbone=options.backbone))
        model, images = prepare_model(folder, options.backbone, options.pictures)
        methods: dict[str, Callable[[], None]] = {
            "A evaluate": partial(run_evaluate, run, model, images),
            "B bare forward": partial(run_bare_forward, model, images),
            "C engine alone": partial(run_engine, model, images),
        }
        ratios: dict[str, list[float]] = {"A / B": [], "A / C": []}
        for round_index in range(options.rounds + 1):
            # In turn, so that a slow phase of the machine hits all of them.
            timings = {name: row.measure_seconds(method) for name, method in methods.items()}
            if not round_index:
                continue  # the first round warms up file cache and allocator
            a, b, c = timings.values()
            ratios["A / B"].append(a / b)
            ratios["A / C"].append(a / c)
            print(", ".join(f"{name} {seconds:.2f} s" for name, seconds in timings.items()), flush=True)
    summary = ", ".join(f"{name} {statistics.median(values):.2f}" for name, values in ratios.items())
    setting = f"{options.backbone}, {len(images.items)} pictures, {count_cpu_cores()} threads"
    print(f"{setting}, median of {options.rounds}: {summary}")


def prepare_model(folder: Path, backbone: str, image_count: int) -> tuple[Predictor, EvaluationDataset]:
    """Return an untrained network for the folder's classes, and `image_count` of its images, repeated as needed.

    Args:
        folder: folder with a folder of images per class.
        backbone: name of the backbone.
        image_count: images to evaluate.
    """
    image_catalog = scan.scan(folder, check=False)
    spec = backbones.get_backbone_spec(backbone)
    net = network.build_network(spec, len(image_catalog.classes), pretrained=False)
    # Repeated images are decoded each time.
    items = tuple(islice(cycle([item for split in image_catalog.splits.values() for item in split]), image_count))
    return Predictor(net, spec, preprocess.from_spec(spec), image_catalog.classes, spec.title), EvaluationDataset(
        "test", image_catalog.root, items
    )


def run_evaluate(run: Run, model: Predictor, images: EvaluationDataset) -> None:
    """Run A: evaluate as the command does.

    Args:
        run: run whose folder the result is written to.
        model: model to evaluate.
        images: labeled images.
    """
    result = evaluate.predict_dataset(model, images)
    results.write_result(run, result, images.fingerprint)
    evaluation = Evaluation(result, calibration.fit_decision(result))
    # The figures that the command prints belong to the measured work.
    assert evaluation.metrics.top1.n == len(images.items)
    assert calibration.compute_reliability(result, evaluation.temperature).counts.sum() == len(images.items)


def run_bare_forward(model: Predictor, images: EvaluationDataset) -> None:
    """Run B: decode in threads and run the network on batches."""
    image_count = 0
    for batch in load_batches(
        batch_indices(range(len(images.items)), BATCH_SIZE), partial(_decode_image, model, images), count_cpu_cores()
    ):
        with torch.inference_mode():
            image_count += len(model.network(preprocess.normalize_batch(batch.pixels, model.prep)))
    assert image_count == len(images.items)


def run_engine(model: Predictor, images: EvaluationDataset) -> None:
    """Run C: compute logits with the engine of an evaluation, and drop them."""
    net = nn.Sequential(model.network.backbone, model.network.head)
    normalise = partial(preprocess.normalize_batch, prep=model.prep)
    decode_view = partial(_decode_view, model, images)
    device = torch.device("cpu")
    chosen_engine = engines.choose_engine(
        net, model.spec, normalise, model.prep.side, device, view_count=len(images.items)
    )
    *_, last = features.compute_features(chosen_engine, len(images.items), 1, decode_view, device, count_cpu_cores())
    assert isinstance(last, features.Features)


def _decode_image(model: Predictor, images: EvaluationDataset, index: int) -> Tensor:
    """Return the preprocessed image, uint8 [3, S, S]."""
    return preprocess.resize_and_center_crop(
        read_image(images.root / images.items[index].path, model.prep.decode_options), model.prep
    )


def _decode_view(model: Predictor, images: EvaluationDataset, index: int, _view_index: int) -> Tensor:
    """Return the preprocessed image; each has one view only."""
    return _decode_image(model, images, index)


if __name__ == "__main__":
    main()
