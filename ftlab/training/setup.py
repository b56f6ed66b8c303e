"""What a training needs before its first step: pictures, device, network, batches; and what the run keeps of that."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch
from accelerate import Accelerator

from ftlab import backbones
from ftlab.config import TrainConfig, flag, resolve
from ftlab.data import names, rendered, transforms
from ftlab.data.catalog import Catalog, scan
from ftlab.data.catalog import from_json as catalog_from_json
from ftlab.data.loader import cores
from ftlab.errors import ConfigError, DataError, PictureError, RunError
from ftlab.events import Event, Note, Progress
from ftlab.models import features, imagenet, network, weights
from ftlab.models.features import Features
from ftlab.models.heads import Plan
from ftlab.models.network import Network
from ftlab.runs import Run
from ftlab.training import devices
from ftlab.training.checkpoint import State
from ftlab.training.feeds import PictureFeed


def as_begun(config: TrainConfig, run: Run) -> TrainConfig:
    """The configuration with the device, threads and precision that the run began with: others would give other bits.
    Where the device is not to be had, one that is: `fix` says so."""
    if "resolved" not in run.read("config.json"):
        return config
    begun = run.resolved()
    if begun.device not in ("cpu", devices.available()):
        return dataclasses.replace(config, threads=begun.threads, device="auto", precision="auto")
    return dataclasses.replace(config, threads=begun.threads, device=begun.device, precision=begun.precision)


def fix(config: TrainConfig, run: Run, accelerator: Accelerator) -> tuple[TrainConfig, list[Note]]:
    """The configuration with everything chosen, written to `config.json`; a resumed run keeps what was chosen first.

    Returns:
        It, and what a person should know: whether something is not as it was when the run began.
    """
    stored = run.read("config.json")
    now = devices.facts(accelerator)
    if "resolved" in stored:
        other = differences(stored, now)
        return run.resolved(), [_warning("not_identical", what="; ".join(other))] if other else []
    chosen = dataclasses.replace(
        resolve(config),
        device=accelerator.device.type,
        precision={"no": "fp32"}.get(accelerator.mixed_precision, accelerator.mixed_precision),
        workers=config.workers or cores(),
        threads=torch.get_num_threads(),
    )
    if accelerator.is_main_process:
        run.write("config.json", {**stored, "resolved": chosen.to_json(), **now, "engine": features.ENGINE})
    return chosen, []


def differences(begun: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is not as it was: of `devices.facts` as a run keeps them and as they are, each as `name: was → is`."""
    said = []
    for key, value in now.items():
        was = begun.get(key)
        pairs = value.items() if isinstance(value, dict) else [(key, value)]
        for name, here in pairs:
            there = was.get(name) if isinstance(was, dict) else was
            if here != there:
                said.append(f"{name}: {there} → {here}")
    return said


def catalog(config: TrainConfig, run: Run, accelerator: Accelerator) -> Catalog:
    """The pictures and their split: as `split.json` has them, else from the folder or the sample set.

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
    if not (config.data or config.sample):
        raise ConfigError("config.no_source")
    folder = rendered.ensure(config.sample) if config.sample else config.data
    heart = run.heart()
    found = scan(
        folder,
        val_share=config.val_share,
        test_share=config.test_share,
        seed=config.seed,
        progress=lambda done, total: heart.beat(),
    )
    if not found.splits["val"]:
        raise DataError("data.too_few", folder=folder)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        run.write("split.json", found.to_json())
        skipped = [problem.file for problem in found.problems]
        run.write("config.json", {**run.read("config.json"), "manifest": found.manifest(), "skipped": skipped})
    return found


def restored(saved: State | None) -> Iterator[Note]:
    """What a person should know of the state that a training goes on from."""
    if saved and saved.damaged:
        yield _warning("fell_back", cause=saved.damaged, step=saved.position.step)


def changed(pictures: PictureFeed) -> Iterator[Note]:
    """What happened to the pictures since they were listed; those that are not there any more are left out.

    Raises:
        DataError: none of them is there.
    """
    catalog = pictures.catalog
    if gone(catalog):
        raise DataError("data.gone", folder=catalog.root)
    missing, other = [], []
    for split, items in catalog.splits.items():
        for index, item in enumerate(items):
            try:
                if catalog.path(item).stat().st_size != item.size:
                    other.append(item.path)
            except OSError:
                missing.append(item.path)
                pictures.lost[split].add(index)
    for code, files in (("data_missing", missing), ("data_changed", other)):
        if files:
            yield _warning(code, count=len(files), file=files[0])


def gone(catalog: Catalog) -> bool:
    """Whether the pictures as a whole are out of reach, by a few of them: moved, or on a disk that was taken out."""
    probes = [items[i] for items in catalog.splits.values() if items for i in (0, len(items) // 2, -1)]
    return not any(catalog.path(item).exists() for item in probes)


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
    return not any(devices.agree(accelerator, [stopped]))


def build(config: TrainConfig, run: Run, pictures: Catalog, accelerator: Accelerator, pretrained: bool) -> Network:
    """The network on its device, frozen as the mode says, described in `model.json` for whoever predicts with it.

    Raises:
        ConfigError: the head does not fit the classes.
        WeightsError: pretrained weights are neither here nor to be had.
    """
    row, head = backbones.get(config.backbone), Plan.of(config)
    if head.kind == "logit" and len(pictures.classes) != 2:
        raise ConfigError("config.logit", name=flag("head_kind"), count=len(pictures.classes))
    inherit = imagenet.match(pictures.classes) if pretrained and config.head_init == "imagenet" else None
    net = network.build(row, len(pictures.classes), pretrained=pretrained, seed=config.seed, head=head, inherit=inherit)
    network.freeze(net, config.mode)
    # A resumed run keeps what its best weights are sealed with.
    if accelerator.is_main_process and not (run.path / "model.json").exists():
        prep = transforms.of(row).to_json()
        facts = {"backbone": row.name, "row": row.to_json(), "classes": list(pictures.classes)}
        shown = names.kept(names.of(pictures.root, pictures.classes), pictures.classes)
        run.write("model.json", {**facts, "head": head.to_json(), "names": shown, "preprocessing": prep})
    layout = torch.channels_last if row.convolutional else torch.contiguous_format
    return net.to(accelerator.device).to(memory_format=layout)


def compute_features(
    net: Network, pictures: PictureFeed, accelerator: Accelerator, stop: Callable[[], bool]
) -> Iterator[Event | dict[str, Features]]:
    """Progress, then the features of training and validation pictures; ends without them when `stop` says so.

    Raises:
        DataError: no picture can be read any more.
    """
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
                # All at once is no matter of single files.
                if not part.indices or (part.skipped and gone(pictures.catalog)):
                    raise DataError("data.gone", folder=pictures.catalog.root)
                found[split] = part
                yield from skipped(pictures.lose(split, part.skipped), pictures.catalog, split)
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
        yield _warning("skipped", file=pictures.splits[split][index].path, problem=refusal.problem)


def _warning(code: str, **values: object) -> Note:
    return Note(code=code, values=values, level="warning")
