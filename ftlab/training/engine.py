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

from ftlab import backbones, words
from ftlab.config import TrainConfig
from ftlab.data import transforms
from ftlab.data.catalog import Catalog
from ftlab.errors import DataError
from ftlab.events import Ended, Epoch, Event, Progress, Saved, Started, Step
from ftlab.models import network
from ftlab.runs import Run
from ftlab.training import checkpoint, devices, optim, schedules, setup
from ftlab.training.checkpoint import Keeper, Position
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
    config = setup.fix(config, run, accelerator)
    catalog = setup.catalog(config, run, accelerator)
    ending = _Ending(run, config, accelerator, clock)
    reached = checkpoint.reached(run)
    pretrained = weights and config.mode != "scratch"
    if pretrained and not (yield from setup.download(config, accelerator, run.stop_asked)):
        yield ending.event("stopped", reached)
        return
    net = setup.build(config, run, catalog, accelerator, pretrained)
    row = backbones.get(config.backbone)
    pictures = PictureFeed(catalog, transforms.of(row), config, accelerator)
    yield _started(config, catalog, accelerator, net, pictures.steps, reached.step)

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
            yield ending.event("stopped", reached)
            return
        feed, module = FeatureFeed(pictures, features), net.head
        torch.set_num_threads(1)  # a head's steps are too small to share: handing them over costs more than they do

    raw = optim.make(network.groups(module, config), config)
    module, optimizer = accelerator.prepare(module, raw)
    bare = accelerator.unwrap_model(module)
    keeper = Keeper(run, net, net.head if config.mode == "frozen" else net, raw)
    position = keeper.restore() or Position()
    sums = position.sums if accelerator.is_main_process else []  # they are those of all processes
    tally, recent = Tally(accelerator.device, sums[:4]), Tally(accelerator.device, sums[4:])
    epochs, steps = config.epochs or 1, (config.epochs or 1) * feed.steps
    every = math.ceil(steps / _POINTS)
    if feed.steps != pictures.steps:  # pictures that could not be read leave fewer steps
        yield _started(config, catalog, accelerator, net, feed.steps, position.step)

    for epoch in range(position.epoch, epochs + 1):
        position.epoch, pace = epoch, _Pace()
        rate = schedules.set_rates(raw, schedules.factor(config, max(0, position.step - 1), steps))
        network.train_flags(bare, config.mode)
        for share in feed.train(epoch, position.done) if epoch else ():
            yield from setup.skipped(share.skipped, catalog, "train")
            rate = schedules.set_rates(raw, schedules.factor(config, position.step, steps))
            if len(share.labels):
                _seed(config, position.step, accelerator)
                optimizer.zero_grad(set_to_none=True)
                with accelerator.autocast():
                    logits, *inner = network.answers(module(share.inputs))
                loss = _loss(logits, share, config, accelerator)
                for one in inner:
                    loss = loss + row.auxiliary_weight * _loss(one, share, config, accelerator)
                accelerator.backward(loss)
                optimizer.step()
                tally.add(logits.detach(), share.labels, share.weight)
                recent.add(logits.detach(), share.labels, share.weight)
                pace.add(share.count)
            position.step, position.done = position.step + 1, position.done + 1
            if position.step % every == 0 or position.done == feed.steps:
                score, recent = recent.total(accelerator), Tally(accelerator.device)
                yield Step(
                    step=position.step, epoch=epoch, loss=score.loss, accuracy=score.top1,
                    learning_rate=rate, images_per_second=pace.recent(),
                )  # fmt: skip
                ending.judge(score.loss, position.step, rate)
            if ending.due() and position.done < feed.steps:
                break
        if ending.due() and epoch and position.done < feed.steps:
            break

        rhythm = pace.whole()
        checked = yield from evaluate(bare, feed, "val", catalog, accelerator, ending.asked)
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
        position.epoch, position.done, position.sums = epoch + 1, 0, []
        if ending.due():
            break
        if accelerator.is_main_process and keeper.due():
            yield from _saved(keeper.save(position), position)

    if ending.reason == "failed":  # what was learnt since the last checkpoint is spoilt, but not what was set aside
        if accelerator.is_main_process:
            yield from _saved(keeper.save_best(position), position)
    else:
        position.sums = [x for one in (tally, recent) for x in devices.total(accelerator, one.sums).tolist()]
        if accelerator.is_main_process:
            yield from _saved(keeper.save(position), position)
    accelerator.wait_for_everyone()
    done = position.epoch > epochs and ending.reason != "failed"
    yield ending.event("finished" if done else ending.reason or "stopped", position)


def evaluate(
    module: nn.Module,
    feed: Feed,
    split: str,
    catalog: Catalog,
    accelerator: Accelerator,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[Event, None, Score | None]:
    """Score a module over a split: progress events, and the score as the generator's value; None when `stop` said so
    on the way. Training flags are left as they were found."""
    was = {name: part.training for name, part in module.named_modules()}
    tally, done, told = Tally(accelerator.device), 0, time.monotonic()
    began = told
    module.eval()
    try:
        for share in feed.evaluate(split):
            yield from setup.skipped(share.skipped, catalog, split)
            if len(share.labels):
                tally.add(_infer(module, share, accelerator), share.labels, share.weight)
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


def _infer(module: nn.Module, share: Share, accelerator: Accelerator) -> Tensor:
    with torch.inference_mode(), accelerator.autocast():
        logits: Tensor = module(share.inputs)
        return logits


def _loss(logits: Tensor, share: Share, config: TrainConfig, accelerator: Accelerator) -> Tensor:
    """Mean cross-entropy over the pictures of all processes: gradients are averaged over processes afterwards."""
    losses = F.cross_entropy(logits.float(), share.labels, reduction="none", label_smoothing=config.label_smoothing)
    return (losses * share.weight).sum() * (accelerator.num_processes / share.count)


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


class _Ending:
    """Why and when a training ends before its last epoch: asked to, out of time, or a loss that is no number."""

    def __init__(self, run: Run, config: TrainConfig, accelerator: Accelerator, clock: float) -> None:
        self.run, self.config, self.accelerator, self.clock = run, config, accelerator, clock
        self.reason = ""
        self.message: str | None = None

    def asked(self) -> bool:
        """Whether a stop is asked for; all processes are told the same."""
        return devices.agree(self.accelerator, self.run.stop_asked())

    def judge(self, loss: float | None, step: int, rate: float) -> None:
        if loss is not None and not math.isfinite(loss):
            self.reason = "failed"
            self.message = words.text("log.diverged", step=step, rate=f"{rate:.2g}")

    def due(self) -> bool:
        """Whether to end now; all processes are told the same."""
        if not self.reason:
            limit = self.config.max_minutes * 60
            late = bool(limit) and time.monotonic() - self.clock > limit
            if self.asked():
                self.reason = "stopped"
            elif devices.agree(self.accelerator, late):
                self.reason = "time"
        return bool(self.reason)

    def event(self, reason: str, position: Position) -> Ended:
        return Ended(
            reason=reason,
            epoch=position.epoch if position.done else max(0, position.epoch - 1),
            step=position.step,
            best_epoch=position.best_epoch,
            best_val_accuracy=position.best_accuracy,
            seconds=time.monotonic() - self.clock,
            message=self.message,
        )


class _Pace:
    """Pictures per second over an epoch's training, and since it was last asked."""

    def __init__(self) -> None:
        self.began = self.last = time.monotonic()
        self.images = self.since = 0

    def add(self, images: int) -> None:
        self.images += images
        self.since += images

    def recent(self) -> float | None:
        now = time.monotonic()
        rate = self.since / (now - self.last) if now > self.last else None
        self.last, self.since = now, 0
        return rate

    def whole(self) -> float | None:
        return self.images / self.seconds() if self.images else None

    def seconds(self) -> float:
        return time.monotonic() - self.began
