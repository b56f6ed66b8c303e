"""The training: one loop that yields what happens. Reads a folder and a configuration, writes a run directory.

for event in train(config, run):
    run.append(event)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import DataError
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.loading.prefetch import Ahead
from ftlab.models.execution.micro_batches import Portions
from ftlab.models.execution.parallel_eval import abreast
from ftlab.runs.directory import Run
from ftlab.runs.events import Epoch, Event, Progress, Saved, Started, Step
from ftlab.training import cached_features, setup
from ftlab.training.checkpoints import checkpoint, init_from, resume_checks
from ftlab.training.checkpoints.checkpoint import Keeper, Position
from ftlab.training.compile import Compiler
from ftlab.training.devices import device_setup
from ftlab.training.feeds.base import Feed
from ftlab.training.feeds.features import FeatureFeed
from ftlab.training.feeds.images import PictureFeed
from ftlab.training.metrics import Score, Tally, Together
from ftlab.training.stopping import Ending, Pace
from ftlab.training.train_step import Learner

_POINTS = 2000
"""Step events of a whole run, at most about this many."""


def train(
    config: TrainConfig,
    run: Run,
    *,
    found: Catalog | None = None,
    early: Ahead | None = None,
    weights: bool = True,
    rates: Callable[[int], float] | None = None,
) -> Iterator[Event]:
    """Train to the end, or until a stop is asked for or the time is up; go on from the last checkpoint if there is one.

    Args:
        config: as the person gave it; what was chosen is written to the run.
        run: its directory, claimed by this process. Of several processes only the first writes to it.
        found: the pictures of a new run, where they were listed before.
        early: some of them that were decoded meanwhile.
        weights: False puts random weights in place of pretrained ones, where only the speed matters.
        rates: share of the peak rate by optimizer step (0-based), in the place of the schedule.

    Raises:
        ConfigError, DataError, WeightsError, RunError: with what to do, in one sentence.
    """
    with ExitStack() as stack:
        yield from _trained(config, run, found, early, weights, rates, stack)


def _trained(
    config: TrainConfig,
    run: Run,
    found: Catalog | None,
    early: Ahead | None,
    weights: bool,
    rates: Callable[[int], float] | None,
    stack: ExitStack,
) -> Iterator[Event]:
    """The same; what is to be closed at the end goes onto the stack."""
    clock = time.monotonic()
    accelerator = device_setup.open_device(setup.as_begun(config, run))
    config, remarks = setup.fix(config, run, accelerator)
    saved, again = checkpoint.read(run), (run.path / "split.json").is_file()
    position = saved.position if saved else Position()
    catalog = setup.catalog(config, run, accelerator, found)
    ending = Ending(run, config, accelerator, clock)
    begin = init_from.prepare(config, run, catalog.classes, saved is not None, accelerator) if weights else None
    yield from begin.notes if begin else ()
    pretrained = weights and config.mode != "scratch" and not (begin and begin.whole)
    if pretrained and not (yield from setup.download(config, accelerator, ending.wished)):
        yield ending.event("stopped", position)
        return
    prep = yield from setup.preparation(config, run, catalog, accelerator, ending.wished)
    if prep is None:
        yield ending.event("stopped", position)
        return
    net = setup.build(config, run, catalog, prep, accelerator, pretrained, position.epoch)
    if begin:
        begin.apply(net, run, accelerator)
    row = backbones.get(config.backbone)
    pictures = stack.enter_context(closing(PictureFeed(catalog, prep, config, accelerator, position.lost, early)))
    yield _started(config, catalog, accelerator, net, pictures.steps, position.step)
    remarks += setup.remarks(catalog)
    yield from (*remarks, *resume_checks.restored(saved), *(resume_checks.changed(pictures) if again else ()))

    feed: Feed = pictures
    if config.caches_features:
        features = None
        for part in cached_features.compute(net, pictures, run, accelerator, ending.asked, weights):
            if isinstance(part, Event):
                yield part
            else:
                features = part
        if features is None:
            yield ending.event("stopped", position)
            return
        if early:
            early.close()
        pictures.close()  # nobody decodes any more, and the processes that did would stay beside the head
        accelerator = device_setup.beside(accelerator, net.head, config.step_size)
        net.to(accelerator.device)
        pictures.device = accelerator.device
        feed = FeatureFeed(pictures, features)
        device_setup.use_threads(net.head, config.step_size, torch.get_num_threads())

    epochs = config.epochs or 1
    learner = Learner(net, row, config, accelerator, position, feed, rates)
    compiler = Compiler(learner, config, run, accelerator)
    average = learner.average.learning if learner.average else None
    keeper = Keeper(run, net, learner.learning, learner.raw, accelerator.scaler, average)
    if saved:
        keeper.restore(saved)
        saved = None  # its tensors are as many as the network's and the optimizer's together
    if accelerator.is_main_process:
        keeper.room(epochs // config.keep_every if config.keep_every else 0)
    sums = position.sums if accelerator.is_main_process else []  # they are those of all processes
    tally, recent = Tally(accelerator.device, sums[:4]), Tally(accelerator.device, sums[4:])
    both = Together(tally, recent)
    every = math.ceil(epochs * feed.steps / _POINTS)
    if feed.steps != pictures.steps:  # pictures that could not be read leave fewer steps
        yield _started(config, catalog, accelerator, net, feed.steps, position.step)

    def save() -> Iterator[Saved]:
        both.settle()
        position.sums = [x for one in (tally, recent) for x in device_setup.total(accelerator, one.sums).tolist()]
        position.lost = device_setup.union(accelerator, pictures.lost)
        if accelerator.is_main_process:
            yield from _saved(keeper.save(position), position)

    for epoch in range(position.epoch, epochs + 1):
        position.epoch, pace = epoch, Pace()
        yield from learner.enter(epoch, position)
        keeper.optimizer = learner.raw
        rate = learner.set_rates(position.step - 1, position)
        for share in feed.train(epoch, position.done) if epoch else ():
            if share.skipped and resume_checks.gone(catalog):
                yield from save()
                raise DataError("data.gone", folder=catalog.root)
            yield from setup.skipped(share.skipped, catalog, "train")
            rate = learner.set_rates(position.step, position)
            if len(share.labels):
                yield from compiler.look(share, position)
                logits, loss = learner.gradients(share, position.step)
                if ending.sound(loss, position.step + 1, rate):
                    learner.step(position.step)
                both.add(logits, share.labels, share.weight)
                pace.add(share.count)
                yield from learner.smaller(position)
            position.step, position.done = position.step + 1, position.done + 1
            if position.step % every == 0 or position.done == feed.steps:
                both.settle()
                score = recent.total(accelerator)
                recent.clear()
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
            checked = yield from evaluate(
                learner.judged, feed, "val", catalog, accelerator, ending.asked, learner.portions
            )
        except DataError:
            yield from save()
            raise
        if checked is None:
            break
        learned = tally.total(accelerator)
        tally.clear()
        if not checked.n or (epoch and not learned.n):
            raise DataError("data.gone", folder=catalog.root)
        best = keeper.improves(position, checked.top1, checked.loss, config.best_by)
        yield Epoch(
            epoch=epoch, step=position.step, train_loss=learned.loss, train_accuracy=learned.top1,
            val_loss=checked.loss, val_accuracy=checked.top1, learning_rate=rate if epoch else None,
            images_per_second=rhythm, seconds=pace.seconds(), best=best,
        )  # fmt: skip
        if epoch and config.keep_every and epoch % config.keep_every == 0 and accelerator.is_main_process:
            yield from _saved(keeper.save_epoch(epoch, checked.top1), position)
        position.epoch, position.done = epoch + 1, 0
        ending.judge(checked.loss, position.step, rate)
        ending.tire(epoch, checked.top1, checked.loss, position)
        if ending.pause(keeper.due()):
            if ending.reason:
                break
            yield from save()

    if ending.reason == "failed":  # what was learnt since the last checkpoint is spoilt, but not what was set aside
        if accelerator.is_main_process:
            yield from _saved(keeper.save_best(position), position)
    else:
        yield from save()
    device_setup.part(accelerator)
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
        with abreast(accelerator.device) as apply:
            for share in feed.evaluate(split):
                if share.skipped and resume_checks.gone(catalog):
                    raise DataError("data.gone", folder=catalog.root)
                yield from setup.skipped(share.skipped, catalog, split)
                if len(share.labels):
                    look = partial(_look, module, share.inputs, accelerator)
                    logits = torch.cat(portions.over(len(share.labels), partial(apply, look)))
                    tally.add(logits, share.labels, share.weight)
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


def _look(module: nn.Module, inputs: Tensor, accelerator: Accelerator, some: slice) -> Tensor:
    with torch.inference_mode(), device_setup.casts(accelerator):
        logits: Tensor = module(inputs[some])
        return logits


def _started(
    config: TrainConfig, catalog: Catalog, accelerator: Accelerator, net: nn.Module, steps: int, step: int
) -> Started:
    return Started(
        step=step,
        epochs=config.epochs or 1,
        steps_per_epoch=steps,
        device=device_setup.name(accelerator.device),
        train_images=len(catalog.splits["train"]),
        val_images=len(catalog.splits["val"]),
        trainable=sum(p.numel() for p in net.parameters() if p.requires_grad),
        total=sum(p.numel() for p in net.parameters()),
        validation="test" if catalog.layout == "test_as_val" else "val",
    )


def _saved(written: list[str], position: Position) -> Iterator[Saved]:
    for what in written:
        epoch = position.best_epoch if what == "best" else position.epoch
        yield Saved(what=what, epoch=epoch or 0, step=position.step)
