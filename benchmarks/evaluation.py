"""What an evaluation costs beside a bare forward over the same pictures: `python -m benchmarks.evaluation`.

A is what `ftlab evaluate` does: decode, one pass, figures, calibration, and the outcome written to the disk. B is a
loop as anybody would write it: the same pictures decoded ahead in threads, batches of 32, the network under
`inference_mode`, nothing kept. C is the engine of A alone, without what is made of its logits. Each round runs all of
them in turn; printed are seconds, and the medians of the rounds' ratios.
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
from ftlab.core.machine import cores
from ftlab.data.dataset import catalog
from ftlab.data.images.decode import read
from ftlab.data.loading.loader import batches, plan
from ftlab.data.samples import sample_sets
from ftlab.data.transforms import preprocess
from ftlab.evaluation import calibration, evaluate, results
from ftlab.evaluation.evaluate import Inspection
from ftlab.evaluation.results import Pictures
from ftlab.inference.predictor import Predictor
from ftlab.models import network
from ftlab.models.execution import engines, features
from ftlab.runs import run_store
from ftlab.runs.directory import Run

BATCH = 32


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default=backbones.DEFAULT)
    parser.add_argument("--data", help="folder of pictures (default: the sample set shapes)")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(cores())
    folder = Path(options.data) if options.data else sample_sets.ensure("shapes")
    with TemporaryDirectory() as place:
        run = run_store.create(place, TrainConfig(data=str(folder), backbone=options.backbone))
        model, pictures = prepare(folder, options.backbone, options.pictures)
        ways: dict[str, Callable[[], None]] = {
            "A evaluate": partial(whole, run, model, pictures),
            "B bare forward": partial(bare, model, pictures),
            "C engine alone": partial(engine, model, pictures),
        }
        ratios: dict[str, list[float]] = {"A / B": [], "A / C": []}
        for number in range(options.rounds + 1):
            took = {name: row.seconds(way) for name, way in ways.items()}
            if not number:
                continue  # files and allocator are warm from here on
            a, b, c = took.values()
            ratios["A / B"].append(a / b)
            ratios["A / C"].append(a / c)
            print(", ".join(f"{name} {seconds:.2f} s" for name, seconds in took.items()), flush=True)
    said = ", ".join(f"{name} {statistics.median(found):.2f}" for name, found in ratios.items())
    print(f"{options.backbone}, {len(pictures.items)} pictures, {cores()} threads, median of {options.rounds}: {said}")


def prepare(folder: Path, backbone: str, count: int) -> tuple[Predictor, Pictures]:
    """An untrained network for the folder's classes, and so many of its pictures, repeated as needed."""
    found = catalog.scan(folder, check=False)
    row = backbones.get(backbone)
    net = network.build(row, len(found.classes), pretrained=False)
    items = tuple(islice(cycle([item for split in found.splits.values() for item in split]), count))
    return Predictor(net, row, preprocess.of(row), found.classes, row.title), Pictures("test", found.root, items)


def whole(run: Run, model: Predictor, pictures: Pictures) -> None:
    """A."""
    made = evaluate.look(model, pictures)
    results.write(run, made, pictures.fingerprint)
    found = Inspection(made, calibration.decide(made))
    assert found.figures.top1.n == len(pictures.items)
    assert calibration.reliability(made, found.temperature).count.sum() == len(pictures.items)


def bare(model: Predictor, pictures: Pictures) -> None:
    """B."""
    seen = 0
    for batch in batches(plan(range(len(pictures.items)), BATCH), partial(_square, model, pictures), cores()):
        with torch.inference_mode():
            seen += len(model.network(preprocess.normalise(batch.pixels, model.prep)))
    assert seen == len(pictures.items)


def engine(model: Predictor, pictures: Pictures) -> None:
    """C."""
    net = nn.Sequential(model.network.backbone, model.network.head)
    normalise = partial(preprocess.normalise, prep=model.prep)
    square = partial(_view, model, pictures)
    device = torch.device("cpu")
    chosen = engines.choose(net, model.row, normalise, model.prep.side, device, looks=len(pictures.items))
    *_, last = features.compute(chosen, len(pictures.items), 1, square, device, cores())
    assert isinstance(last, features.Features)


def _square(model: Predictor, pictures: Pictures, index: int) -> Tensor:
    return preprocess.evaluation(
        read(pictures.root / pictures.items[index].path, at_least=model.prep.detail), model.prep
    )


def _view(model: Predictor, pictures: Pictures, index: int, _view: int) -> Tensor:
    return _square(model, pictures, index)


if __name__ == "__main__":
    main()
