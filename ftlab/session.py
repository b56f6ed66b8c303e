"""One training in this process: events written to the run and told on the terminal, an orderly end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from types import ModuleType

from ftlab import backbones, console, disk, loading, runs
from ftlab.config import TrainConfig
from ftlab.errors import RunError
from ftlab.events import Ended, Event
from ftlab.jobs import autopsy, worker
from ftlab.runs import Run


def follow(run: Run, settings: TrainConfig) -> Ended | None:
    """Train in this process; write and tell what happens. Ctrl+C and SIGTERM end it as Stop does."""
    if first():
        run.claim()
        disk.sweep(run.path)
    previous = {one: signal.signal(one, lambda *_: run.ask_stop()) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        return console.show(_recorded(_events(run, settings), run), quiet=not first())
    finally:
        for one, handler in previous.items():
            signal.signal(one, handler)
        if first():
            run.release()


def _events(run: Run, settings: TrainConfig) -> Iterator[Event]:
    """The training. One thread loads the engine, which takes a second or two, while this one looks through a new run's
    folder, and another process begins to decode what is there."""
    from ftlab.data import ahead, collected

    with ExitStack() as stack:
        with ThreadPoolExecutor(1, "load") as loader:
            engine = loader.submit(_engine, settings)
            new = not (run.path / "split.json").is_file() and int(os.environ.get("WORLD_SIZE", "1")) == 1
            heart = run.heart()
            found = collected.pictures(settings, lambda done, total: heart.beat()) if new else None
            early = ahead.begun(found, settings) if found else None
            if early:
                stack.enter_context(early)
        yield from engine.result().train(settings, run, found=found, early=early)


def _engine(settings: TrainConfig) -> ModuleType:
    """The engine, and the package that makes its network."""
    from ftlab.models import sources

    engine = loading.module("ftlab.training.engine")
    sources.package(backbones.get(settings.backbone).source)
    return engine


def _recorded(events: Iterator[Event], run: Run) -> Iterator[Event]:
    """Each event is on the disk before it is told; an error becomes the run's last word.

    Raises:
        RunError: an event cannot be written. The last checkpoint stands.
    """
    try:
        for event in events:
            if first():
                run.append(event)
            yield event
    except Exception as cause:
        if first():
            with suppress(RunError):  # the error on its way up is told on the terminal, and in the log
                run.append(_failed(run, autopsy.told(cause)))
        raise


def _failed(run: Run, message: str) -> Ended:
    history = run.history()
    best = history.best
    return Ended(
        reason="failed",
        epoch=history.epochs[-1].epoch if history.epochs else 0,
        step=history.step,
        best_epoch=best.epoch if best else None,
        best_val_accuracy=best.val_accuracy if best else None,
        seconds=0.0,
        message=message,
    )


def create(settings: TrainConfig, root: str) -> Run:
    """A new run: the one that whoever started this process has made for it, or one of its own. The processes that
    torchrun started share one.

    Raises:
        DataError: there is no such folder, zip or list of pictures.
        RunError: the folder cannot be written.
    """
    adopted = adoptable()
    if adopted is not None:
        return adopted
    if settings.data:
        from ftlab.data.origin import find

        find(settings.data)  # no run is made for a folder that is not there
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return runs.create(root, settings)
    from ftlab.training import devices

    return Run(devices.first_says(settings, lambda: str(runs.create(root, settings).path)))


def adopting() -> bool:
    """Whether this process was started for a run that is there already."""
    return worker.ADOPT in os.environ


def adoptable() -> Run | None:
    """The run that this process was started for, by the page."""
    path = os.environ.pop(worker.ADOPT, None)
    return Run(path) if path else None


def first() -> bool:
    """Whether this is the first, or only, of the processes of a training: the one that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0
