"""What a training needs before its first step: pictures, device, network, batches; and what the run keeps of that."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch
from accelerate import Accelerator

from ftlab.config import backbones
from ftlab.config.backbones import Backbone
from ftlab.config.fields import flag
from ftlab.config.train_config import TrainConfig, resolve
from ftlab.core.errors import ConfigError, DataError, PictureError, RunError
from ftlab.core.machine import cores
from ftlab.data import channel_stats
from ftlab.data.channel_stats import Statistics
from ftlab.data.dataset import class_names, from_config
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.dataset.catalog import from_json as catalog_from_json
from ftlab.data.gpu import gpu_augment
from ftlab.data.loading import image_cache
from ftlab.data.transforms import augment, preprocess
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.models import freezing, network
from ftlab.models.heads import Plan
from ftlab.models.network import Network
from ftlab.models.pretrained import imagenet_classes, weights
from ftlab.runs.directory import Run
from ftlab.runs.events import Event, Note, Progress
from ftlab.training.checkpoints import resume_checks
from ftlab.training.devices import device_setup
from ftlab.training.optim import optimizers

TELL = 0.5
"""Seconds between two words of how far a work is."""
_BEFORE: dict[str, Any] = {"compile": "no", "vary_on": "processor"}
"""What was the only way before there was a knob."""


def as_begun(config: TrainConfig, run: Run) -> TrainConfig:
    """The configuration with the device, threads and precision that the run began with: others would give other bits.
    Where the device is not to be had, one that is: `fix` says so."""
    if "resolved" not in run.read("config.json"):
        return config
    begun = run.resolved()
    if begun.device not in ("cpu", device_setup.available()):
        return dataclasses.replace(config, threads=begun.threads, device="auto", precision="auto")
    return dataclasses.replace(config, threads=begun.threads, device=begun.device, precision=begun.precision)


def fix(config: TrainConfig, run: Run, accelerator: Accelerator) -> tuple[TrainConfig, list[Note]]:
    """The configuration with everything chosen, written to `config.json`; a resumed run keeps what was chosen first.

    Returns:
        It, and what a person should know: whether something is not as it was when the run began.

    Raises:
        ConfigError: the sizes of pictures contradict each other.
    """
    stored = run.read("config.json")
    now = device_setup.facts(accelerator)
    kept = image_cache.budget(config, on_card=accelerator.device.type != "cpu")
    if "resolved" in stored:
        other = resume_checks.differences(stored, now)
        # A run of an older version was begun without a word of these, and so as they were then.
        older = {name: was for name, was in _BEFORE.items() if name not in stored["resolved"]}
        begun = dataclasses.replace(run.resolved(), **older)
        # What is free now is another matter than it was then, and no bit depends on it.
        chosen = dataclasses.replace(begun, keep_decoded=kept)
        return chosen, [resume_checks.warning("not_identical", what="; ".join(other))] if other else []
    prep = preprocess.chosen(backbones.get(config.backbone), config)
    chosen = dataclasses.replace(
        resolve(config),
        side=prep.side,
        resize=prep.resize,
        head_seed=config.start_seed,
        crop_side=config.crop_side or prep.side,
        crop_ratio=config.crop_ratio or augment.CROP_RATIO,
        device=accelerator.device.type,
        precision={"no": "fp32"}.get(accelerator.mixed_precision, accelerator.mixed_precision),
        fused=optimizers.fused(config, accelerator.device),
        keep_decoded=kept,
        vary_on=gpu_augment.place(config, accelerator.device),
        workers=config.workers or cores(),
        threads=torch.get_num_threads(),
    )
    if accelerator.is_main_process:
        run.write("config.json", {**stored, "resolved": chosen.to_json(), **now})
    return chosen, []


def catalog(config: TrainConfig, run: Run, accelerator: Accelerator, found: Catalog | None = None) -> Catalog:
    """The pictures and their split: as `split.json` has them, else from the folder or the sample set.

    Args:
        found: as the folder was found to be just now.

    Raises:
        ConfigError: neither a folder nor a sample set is named.
        DataError: the folder cannot be used.
        RunError: `split.json` is not what the run began with.
    """
    if (run.path / "split.json").is_file():
        begun = catalog_from_json(run.read("split.json"))
        if begun.manifest() != run.read("config.json").get("manifest", begun.manifest()):
            raise RunError("run.split", run=run.name)
        return begun
    if found is None:
        heart = run.heart()
        found = from_config.pictures(config, lambda done, total: heart.beat())
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        run.write("split.json", found.to_json())
        skipped = [problem.file for problem in found.problems]
        run.write("config.json", {**run.read("config.json"), "manifest": found.manifest(), "skipped": skipped})
    return found


def remarks(pictures: Catalog) -> Iterator[Note]:
    """What a person should know of the split."""
    if pictures.layout == "test_as_val":
        yield resume_checks.warning("test_as_val", count=len(pictures.splits["val"]))


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
    return not any(device_setup.agree(accelerator, [stopped]))


def preparation(
    config: TrainConfig, run: Run, pictures: Catalog, accelerator: Accelerator, stop: Callable[[], bool]
) -> Generator[Event, None, Preprocessing | None]:
    """How the pictures are prepared: as the run began, else as the configuration says, with statistics of the training
    pictures where it wants them. The generator's value; None when `stop` said so on the way.

    Raises:
        DataError: no training picture can be read.
    """
    stored = run.read("config.json")
    if "preprocessing" in stored:
        return preprocess.from_json(stored["preprocessing"])
    prep = preprocess.chosen(backbones.get(config.backbone), config)
    if config.normalise == "estimated":
        found = yield from _estimated(config, pictures, accelerator, stop)
        if found is None:
            return None
        prep = dataclasses.replace(prep, mean=found.mean, std=found.std)
        yield Note(code="statistics", values=found.spoken())
    if accelerator.is_main_process:
        run.write("config.json", {**run.read("config.json"), "preprocessing": prep.to_json()})
    return prep


def _estimated(
    config: TrainConfig, pictures: Catalog, accelerator: Accelerator, stop: Callable[[], bool]
) -> Generator[Event, None, Statistics | None]:
    """The statistics as the first process computes them, told to all; None when `stop` said so on the way."""
    found: Statistics | None = None
    if accelerator.is_main_process:
        told = time.monotonic()
        for part in channel_stats.compute(pictures, config.workers or cores()):
            if isinstance(part, Statistics):
                found = part
            elif stop():
                break
            elif time.monotonic() - told > TELL:
                told = time.monotonic()
                yield Progress(stage="statistics", done=part.done, total=part.total)
    found = device_setup.told(accelerator, found)
    if found is not None and not found.count:
        raise DataError("data.gone", folder=pictures.root)
    return found


def build(
    config: TrainConfig,
    run: Run,
    pictures: Catalog,
    prep: Preprocessing,
    accelerator: Accelerator,
    pretrained: bool,
    epoch: int,
) -> Network:
    """The network on its device, frozen as in that epoch, described in `model.json` for whoever predicts with it.

    Raises:
        ConfigError: the head does not fit the classes, or the backbone has no such layer.
        WeightsError: pretrained weights are neither here nor to be had.
        ConfigError: it takes no pictures of the side that is asked for.
    """
    row, head = backbones.get(config.backbone), Plan.of(config)
    if head.kind == "logit" and len(pictures.classes) != 2:
        raise ConfigError("config.logit", name=flag("head_kind"), count=len(pictures.classes))
    inherit = imagenet_classes.match(pictures.classes) if pretrained and config.head_init == "imagenet" else None
    start = config.start_seed
    net = network.build(row, len(pictures.classes), pretrained=pretrained, seed=start, head=head, inherit=inherit)
    if prep.side != row.side:
        _try(net, row, prep.side)
    freezing.freeze(net, config, max(1, epoch))
    # A resumed run keeps what its best weights are sealed with.
    if accelerator.is_main_process and not (run.path / "model.json").exists():
        facts = {"backbone": row.name, "row": row.to_json(), "classes": list(pictures.classes)}
        shown = class_names.kept(class_names.of(pictures.root, pictures.classes), pictures.classes)
        run.write("model.json", {**facts, "head": head.to_json(), "names": shown, "preprocessing": prep.to_json()})
    layout = torch.channels_last if row.convolutional else torch.contiguous_format
    return net.to(accelerator.device).to(memory_format=layout)


def _try(net: Network, row: Backbone, side: int) -> None:
    """See that the network takes pictures of another side than its own. Some do not: those that have a position for
    each place, and those that make a small picture smaller than nothing."""
    net.eval()
    try:
        with torch.inference_mode():
            net(torch.zeros(1, 3, side, side))
    except (AssertionError, ValueError, RuntimeError) as cause:
        said = str(cause).strip().splitlines() or [type(cause).__name__]
        raise ConfigError("config.side", title=row.title, side=side, native=row.side, cause=said[0]) from cause
    finally:
        net.train()


def skipped(refused: list[tuple[int, PictureError]], pictures: Catalog, split: str) -> Iterator[Note]:
    """A sentence for each picture that could not be read."""
    for index, refusal in refused:
        yield resume_checks.warning("skipped", file=pictures.splits[split][index].path, problem=refusal.problem)
