"""What a training needs before its first step: pictures, device, network, batches; and what the run keeps of that."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Callable, Generator, Iterator
from importlib.metadata import version

import torch
from accelerate import Accelerator

from ftlab import backbones
from ftlab.config import TrainConfig, resolve
from ftlab.data import rendered, transforms
from ftlab.data.catalog import Catalog, scan
from ftlab.data.catalog import from_json as catalog_from_json
from ftlab.data.loader import cores
from ftlab.errors import ConfigError, DataError, PictureError
from ftlab.events import Event, Note, Progress
from ftlab.models import features, network, weights
from ftlab.models.features import Features
from ftlab.models.network import Network
from ftlab.runs import Run
from ftlab.training import devices
from ftlab.training.feeds import PictureFeed

_PACKAGES = ("torch", "torchvision", "timm", "accelerate", "pillow", "numpy")


def as_begun(config: TrainConfig, run: Run) -> TrainConfig:
    """The configuration with the threads and the precision that the run began with: others would give other bits."""
    begun = run.resolved()
    return dataclasses.replace(config, threads=begun.threads, precision=begun.precision)


def fix(config: TrainConfig, run: Run, accelerator: Accelerator) -> TrainConfig:
    """The configuration with everything chosen, written to `config.json`; a resumed run keeps what was chosen first."""
    stored = run.read("config.json")
    if "resolved" in stored:
        return run.resolved()
    chosen = dataclasses.replace(
        resolve(config),
        device=accelerator.device.type,
        precision={"no": "fp32"}.get(accelerator.mixed_precision, accelerator.mixed_precision),
        workers=config.workers or cores(),
        threads=torch.get_num_threads(),
    )
    if accelerator.is_main_process:
        versions = {name: version(name) for name in _PACKAGES} | {"python": platform.python_version()}
        facts = {"versions": versions, "processes": accelerator.num_processes, "machine": platform.platform()}
        run.write("config.json", {**stored, "resolved": chosen.to_json(), **facts})
    return chosen


def catalog(config: TrainConfig, run: Run, accelerator: Accelerator) -> Catalog:
    """The pictures and their split: as `split.json` has them, else from the folder or the sample set.

    Raises:
        ConfigError: neither a folder nor a sample set is named.
        DataError: the folder cannot be used.
    """
    if (run.path / "split.json").is_file():
        return catalog_from_json(run.read("split.json"))
    if not (config.data or config.sample):
        raise ConfigError("config.no_source")
    folder = rendered.ensure(config.sample) if config.sample else config.data
    found = scan(folder, val_share=config.val_share, test_share=config.test_share, seed=config.seed)
    if not found.splits["val"]:
        raise DataError("data.too_few", folder=folder)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        run.write("split.json", found.to_json())
    return found


def download(config: TrainConfig, accelerator: Accelerator, stop: Callable[[], bool]) -> Generator[Event, None, bool]:
    """Fetch the pretrained weights that are not here yet, by one process of each machine. The generator's value:
    whether to go on; no when `stop` said so on the way.

    Raises:
        WeightsError: they are not to be had.
    """
    row, stopped = backbones.get(config.backbone), False
    if accelerator.is_local_main_process:
        for number, (done, total) in enumerate(weights.fetch(row)):
            if not number:
                yield Note(code="download", values={"title": row.title, "megabytes": round(total / 1e6)})
            yield Progress(stage="download", done=done, total=total)
            if stopped := stop():
                break
    return not devices.agree(accelerator, stopped)


def build(config: TrainConfig, run: Run, pictures: Catalog, accelerator: Accelerator, pretrained: bool) -> Network:
    """The network on its device, frozen as the mode says, described in `model.json` for whoever predicts with it.

    Raises:
        WeightsError: pretrained weights are neither here nor to be had.
    """
    row = backbones.get(config.backbone)
    net = network.build(row, len(pictures.classes), pretrained=pretrained, seed=config.seed)
    network.freeze(net, config.mode)
    if accelerator.is_main_process:
        prep = transforms.of(row).to_json()
        facts = {"backbone": row.name, "row": row.to_json(), "classes": list(pictures.classes)}
        run.write("model.json", {**facts, "preprocessing": prep})
    layout = torch.channels_last if row.convolutional else torch.contiguous_format
    return net.to(accelerator.device).to(memory_format=layout)


def compute_features(
    net: Network, pictures: PictureFeed, accelerator: Accelerator, stop: Callable[[], bool]
) -> Iterator[Event | dict[str, Features]]:
    """Progress, then the features of training and validation pictures; ends without them when `stop` says so."""
    found: dict[str, Features] = {}
    counts = {split: len(pictures.catalog.splits[split]) for split in ("train", "val")}
    wanted = {"train": pictures.config.feature_views, "val": 1}
    began = told = time.monotonic()
    before = 0
    for split, count in counts.items():
        work = features.compute(
            net.backbone,
            count,
            wanted[split],
            lambda index, view, split=split: pictures.view(split, index, view),  # type: ignore[misc]
            lambda pixels: transforms.normalise(pixels, pictures.prep),
            accelerator.device,
            pictures.workers,
        )
        for part in work:
            if isinstance(part, Features):
                found[split] = part
                yield from skipped(part.skipped, pictures.catalog, split)
            elif stop():
                return
            elif time.monotonic() - told > 0.5:
                told = time.monotonic()
                pace = (before + part) / (told - began)
                yield Progress(stage="features", done=before + part, total=sum(counts.values()), images_per_second=pace)
        before += count
    seconds = time.monotonic() - began
    yield Note(
        code="features", values={"images": before, "seconds": round(seconds, 1), "rate": round(before / seconds)}
    )
    yield found


def skipped(refused: list[tuple[int, PictureError]], pictures: Catalog, split: str) -> Iterator[Note]:
    """A sentence for each picture that could not be read."""
    for index, refusal in refused:
        file = pictures.splits[split][index].path
        yield Note(code="skipped", values={"file": file, "problem": refusal.problem})
