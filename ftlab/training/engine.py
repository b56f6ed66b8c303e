"""The training: one loop that yields what happens. Reads a folder and a configuration, writes a run directory.

for event in train(config, run):
    run.append(event)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from ftlab import backbones
from ftlab.backbones import Backbone
from ftlab.config import TrainConfig
from ftlab.data.catalog import Catalog
from ftlab.errors import DataError
from ftlab.events import Epoch, Event, Note, Progress, Saved, Started, Step
from ftlab.models import network
from ftlab.models.portions import Portions
from ftlab.runs import Run
from ftlab.training import checkpoint, devices, initial, optim, schedules, setup
from ftlab.training.checkpoint import Keeper, Position
from ftlab.training.ending import Ending, Pace
from ftlab.training.feeds import FeatureFeed, Feed, PictureFeed, Share
from ftlab.training.metrics import Score, Tally

_POINTS = 2000
"""Step events of a whole run, at most about this many."""


def train(config: TrainConfig, run: Run, *, weights: bool = True) -> Iterator[Event]:
    """Train to the end, or until a stop is asked for or the time is up; go on from the last checkpoint if there is one.

    Args:
        config: as the person gave it; what was chosen is written to the run.
        run: its directory, claimed by this process. Of several processes only the first writes to it.
        weights: False puts random weights in place of pretrained ones, where only the speed matters.

    Raises:
        ConfigError, DataError, WeightsError, RunError: with what to do, in one sentence.
    """
    clock = time.monotonic()
    accelerator = devices.open_device(setup.as_begun(config, run))
    config, remarks = setup.fix(config, run, accelerator)
    saved, resumed = checkpoint.read(run), (run.path / "split.json").is_file()
    position = saved.position if saved else Position()
    catalog = setup.catalog(config, run, accelerator)
    ending = Ending(run, config, accelerator, clock)
    begin = initial.prepare(config, run, catalog.classes, saved is not None, accelerator) if weights else None
    yield from begin.notes if begin else ()
    pretrained = weights and config.mode != "scratch" and not (begin and begin.whole)
    if pretrained and not (yield from setup.download(config, accelerator, ending.wished)):
        yield ending.event("stopped", position)
        return
    prep = yield from setup.preparation(config, run, catalog, accelerator, ending.wished)
    if prep is None:
        yield ending.event("stopped", position)
        return
    net = setup.build(config, run, catalog, prep, accelerator, pretrained)
    if begin:
        begin.apply(net, run, accelerator)
    row = backbones.get(config.backbone)
    pictures = PictureFeed(catalog, prep, config, accelerator, position.lost)
    yield _started(config, catalog, accelerator, net, pictures.steps, position.step)
    yield from (*remarks, *setup.restored(saved), *(setup.changed(pictures) if resumed else ()))

    feed: Feed = pictures
    module: nn.Module = net
    if config.caches_features:
        features = None
        for part in setup.compute_features(net, pictures, accelerator, ending.asked):
            if isinstance(part, Event):
                yield part
            else:
                features = part
        if features is None:
            yield ending.event("stopped", position)
            return
        feed, module = FeatureFeed(pictures, features), net.head
        torch.set_num_threads(1)  # a head's steps are too small to share: handing them over costs more than they do

    raw = optim.make(network.groups(module, config), config)
    module, optimizer = accelerator.prepare(module, raw)
    bare = accelerator.unwrap_model(module)
    keeper = Keeper(run, net, net.head if config.mode == "frozen" else net, raw, accelerator.scaler)
    if saved:
        keeper.restore(saved)
        saved = None  # its tensors are as many as the network's and the optimizer's together
    if accelerator.is_main_process:
        keeper.room()
    sums = position.sums if accelerator.is_main_process else []  # they are those of all processes
    tally, recent = Tally(accelerator.device, sums[:4]), Tally(accelerator.device, sums[4:])
    portions = Portions(position.portion, whole=accelerator.num_processes > 1)
    epochs, steps = config.epochs or 1, (config.epochs or 1) * feed.steps
    every = math.ceil(steps / _POINTS)
    if feed.steps != pictures.steps:  # pictures that could not be read leave fewer steps
        yield _started(config, catalog, accelerator, net, feed.steps, position.step)

    def save() -> Iterator[Saved]:
        position.sums = [x for one in (tally, recent) for x in devices.total(accelerator, one.sums).tolist()]
        position.lost = devices.union(accelerator, pictures.lost)
        if accelerator.is_main_process:
            yield from _saved(keeper.save(position), position)

    for epoch in range(position.epoch, epochs + 1):
        position.epoch, pace = epoch, Pace()
        rate = schedules.set_rates(raw, schedules.factor(config, max(0, position.step - 1), steps))
        network.train_flags(bare, config.mode)
        for share in feed.train(epoch, position.done) if epoch else ():
            if share.skipped and setup.gone(catalog):
                yield from save()
                raise DataError("data.gone", folder=catalog.root)
            yield from setup.skipped(share.skipped, catalog, "train")
            rate = schedules.set_rates(raw, schedules.factor(config, position.step, steps))
            if len(share.labels):
                logits, loss = _gradients(module, optimizer, row, share, position.step, config, accelerator, portions)
                if ending.sound(loss, position.step + 1, rate):
                    optimizer.step()
                tally.add(logits, share.labels, share.weight)
                recent.add(logits, share.labels, share.weight)
                pace.add(share.count)
                yield from _smaller(portions, position)
            position.step, position.done = position.step + 1, position.done + 1
            if position.step % every == 0 or position.done == feed.steps:
                score, recent = recent.total(accelerator), Tally(accelerator.device)
                yield Step(
                    step=position.step, epoch=epoch, loss=score.loss, accuracy=score.top1,
                    learning_rate=rate, images_per_second=pace.recent(),
                )  # fmt: skip
            if ending.pause(keeper.due(within_epoch=True)) and position.done < feed.steps:
                if ending.reason:
                    break
                yield from save()
        if ending.reason == "failed" or (ending.reason and epoch and position.done < feed.steps):
            break

        rhythm = pace.whole()
        try:
            checked = yield from evaluate(bare, feed, "val", catalog, accelerator, ending.asked, portions)
        except DataError:
            yield from save()
            raise
        if checked is None:
            break
        learned, tally = tally.total(accelerator), Tally(accelerator.device)
        if not checked.n or (epoch and not learned.n):
            raise DataError("data.gone", folder=catalog.root)
        best = keeper.improves(position, checked.top1, checked.loss)
        yield Epoch(
            epoch=epoch, step=position.step, train_loss=learned.loss, train_accuracy=learned.top1,
            val_loss=checked.loss, val_accuracy=checked.top1, learning_rate=rate if epoch else None,
            images_per_second=rhythm, seconds=pace.seconds(), best=best,
        )  # fmt: skip
        position.epoch, position.done = epoch + 1, 0
        ending.judge(checked.loss, position.step, rate)
        if ending.pause(keeper.due()):
            if ending.reason:
                break
            yield from save()

    if ending.reason == "failed":  # what was learnt since the last checkpoint is spoilt, but not what was set aside
        if accelerator.is_main_process:
            yield from _saved(keeper.save_best(position), position)
    else:
        yield from save()
    devices.part(accelerator)
    done = position.epoch > epochs and ending.reason != "failed"
    yield ending.event("finished" if done else ending.reason or "stopped", position)


def evaluate(
    module: nn.Module,
    feed: Feed,
    split: str,
    catalog: Catalog,
    accelerator: Accelerator,
    stop: Callable[[], bool] = lambda: False,
    portions: Portions | None = None,
) -> Generator[Event, None, Score | None]:
    """Score a module over a split: progress events, and the score as the generator's value; None when `stop` said so
    on the way. Training flags are left as they were found.

    Raises:
        DataError: the folder is gone.
    """
    portions = portions or Portions()
    was = {name: part.training for name, part in module.named_modules()}
    tally, done, told = Tally(accelerator.device), 0, time.monotonic()
    began = told
    module.eval()
    try:
        for share in feed.evaluate(split):
            if share.skipped and setup.gone(catalog):
                raise DataError("data.gone", folder=catalog.root)
            yield from setup.skipped(share.skipped, catalog, split)
            if len(share.labels):
                tally.add(_logits(module, share.inputs, accelerator, portions), share.labels, share.weight)
            done += share.count
            if stop():
                return None
            if time.monotonic() - told > 0.5:
                told = time.monotonic()
                pace = done / (told - began)
                total = len(catalog.splits[split])
                yield Progress(stage="validation", done=done, total=total, images_per_second=pace)
    finally:
        for name, part in module.named_modules():
            part.training = was[name]
    return tally.total(accelerator)


def _logits(module: nn.Module, inputs: Tensor, accelerator: Accelerator, portions: Portions) -> Tensor:
    def infer(some: slice) -> Tensor:
        with torch.inference_mode(), accelerator.autocast():
            logits: Tensor = module(inputs[some])
            return logits

    return torch.cat(portions.over(len(inputs), infer))


def _gradients(
    module: nn.Module,
    optimizer: Optimizer,
    row: Backbone,
    share: Share,
    step: int,
    config: TrainConfig,
    accelerator: Accelerator,
    portions: Portions,
) -> tuple[Tensor, Tensor]:
    """Leave the gradients of a step in the parameters; its logits [b, K], and its loss as a scalar.

    In portions, the gradients add up to those of the whole step; only BatchNorm sees fewer pictures at a time.
    """
    moving = [buffer for part in module.modules() if part.training for buffer in part.buffers(recurse=False)]
    before = [buffer.clone() for buffer in moving]

    def begin() -> None:
        _seed(config, step, accelerator)
        optimizer.zero_grad(set_to_none=True)

    def undo() -> None:
        for buffer, kept in zip(moving, before, strict=True):
            buffer.copy_(kept)
        begin()

    def part(logits: Tensor, some: slice) -> Tensor:
        """Of the mean cross-entropy over the pictures of all processes: gradients are averaged over them afterwards."""
        losses = F.cross_entropy(
            logits.float(), share.labels[some], reduction="none", label_smoothing=config.label_smoothing
        )
        return (losses * share.weight[some]).sum() * (accelerator.num_processes / share.count)

    def learn(some: slice) -> tuple[Tensor, Tensor]:
        with accelerator.autocast():
            logits, *inner = network.answers(module(share.inputs[some]))
        loss = part(logits, some)
        for one in inner:
            loss = loss + row.auxiliary_weight * part(one, some)
        accelerator.backward(loss)
        return logits.detach(), loss.detach()

    begin()
    parts = portions.over(len(share.labels), learn, undo)
    return torch.cat([logits for logits, _ in parts]), torch.stack([loss for _, loss in parts]).sum()


def _smaller(portions: Portions, position: Position) -> Iterator[Note]:
    """Told when the device's memory turned out to be too small for what went through it so far."""
    if portions.most != position.portion:
        position.portion = portions.most
        yield Note(code="portions", values={"most": portions.most, "step": position.step + 1}, level="warning")


def _seed(config: TrainConfig, step: int, accelerator: Accelerator) -> None:
    """Dropout becomes a function of (seed, step, process): a resumed run draws what an undisturbed one would."""
    torch.manual_seed((config.seed * 1_000_003 + step) * 64 + accelerator.process_index)


def _started(
    config: TrainConfig, catalog: Catalog, accelerator: Accelerator, net: nn.Module, steps: int, step: int
) -> Started:
    return Started(
        step=step,
        epochs=config.epochs or 1,
        steps_per_epoch=steps,
        device=devices.name(accelerator.device),
        train_images=len(catalog.splits["train"]),
        val_images=len(catalog.splits["val"]),
        trainable=sum(p.numel() for p in net.parameters() if p.requires_grad),
        total=sum(p.numel() for p in net.parameters()),
    )


def _saved(written: list[str], position: Position) -> Iterator[Saved]:
    for what in written:
        epoch = position.best_epoch if what == "best" else position.epoch
        yield Saved(what=what, epoch=epoch or 0, step=position.step)
