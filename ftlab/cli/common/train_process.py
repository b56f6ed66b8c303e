"""One training in this process: events written to the run and told on the terminal, an orderly end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from types import ModuleType

from ftlab.cli.terminal import progress
from ftlab.config import backbones
from ftlab.config.train_config import TrainConfig
from ftlab.core import file_io, lazy_import
from ftlab.core.errors import RunError
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Event
from ftlab.runs.jobs import launch, postmortem


def follow(run: Run, settings: TrainConfig) -> Ended | None:
    """Train in this process; write and tell what happens. Ctrl+C and SIGTERM end it as Stop does."""
    if first():
        run.claim()
        file_io.sweep(run.path)
    previous = {one: signal.signal(one, lambda *_: run.ask_stop()) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        return progress.show(_recorded(_events(run, settings), run), quiet=not first())
    finally:
        for one, handler in previous.items():
            signal.signal(one, handler)
        if first():
            run.release()


def _events(run: Run, settings: TrainConfig) -> Iterator[Event]:
    """The training. One thread loads the engine, which takes a second or two, while this one looks through a new run's
    folder, and another process begins to decode what is there."""
    from ftlab.data.dataset import from_config
    from ftlab.data.loading import prefetch

    with ExitStack() as stack:
        with ThreadPoolExecutor(1, "load") as loader:
            engine = loader.submit(_engine, settings)
            new = not (run.path / "split.json").is_file() and int(os.environ.get("WORLD_SIZE", "1")) == 1
            heart = run.heart()
            found = from_config.pictures(settings, lambda done, total: heart.beat()) if new else None
            early = prefetch.begun(found, settings) if found else None
            if early:
                stack.enter_context(early)
        yield from engine.result().train(settings, run, found=found, early=early)


def _engine(settings: TrainConfig) -> ModuleType:
    """The engine, and the package that makes its network."""
    from ftlab.models.pretrained import libraries

    engine = lazy_import.module("ftlab.training.loop")
    libraries.package(backbones.get(settings.backbone).source)
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
                run.append(_failed(run, postmortem.told(cause)))
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
        from ftlab.data.sources.locate import find

        find(settings.data)  # no run is made for a folder that is not there
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return run_store.create(root, settings)
    from ftlab.training.devices import device_setup

    return Run(device_setup.first_says(settings, lambda: str(run_store.create(root, settings).path)))


def adopting() -> bool:
    """Whether this process was started for a run that is there already."""
    return launch.ADOPT in os.environ


def adoptable() -> Run | None:
    """The run that this process was started for, by the page."""
    path = os.environ.pop(launch.ADOPT, None)
    return Run(path) if path else None


def first() -> bool:
    """Whether this is the first, or only, of the processes of a training: the one that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0
