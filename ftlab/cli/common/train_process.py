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


def run_training(run: Run, config: TrainConfig) -> Ended | None:
    """Train in this process; write and tell what happens. Ctrl+C and SIGTERM end it as Stop does."""
    if is_main_process():
        run.claim_ownership()
        file_io.remove_stale_parts(run.path)
    previous_handlers = {
        signal_number: signal.signal(signal_number, lambda *_: run.request_stop())
        for signal_number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        return progress.show_events(
            _record_events(_iter_training_events(run, config), run), quiet=not is_main_process()
        )
    finally:
        for signal_number, handler in previous_handlers.items():
            signal.signal(signal_number, handler)
        if is_main_process():
            run.release_ownership()


def _iter_training_events(run: Run, config: TrainConfig) -> Iterator[Event]:
    """The training. One thread loads the engine, which takes a second or two, while this one looks through a new run's
    folder, and another process begins to decode what is there."""
    from ftlab.data.dataset import from_config
    from ftlab.data.loading import prefetch

    with ExitStack() as stack:
        with ThreadPoolExecutor(1, "load") as loader:
            training_loop = loader.submit(_import_training_loop, config)
            is_new_run = not (run.path / "split.json").is_file() and int(os.environ.get("WORLD_SIZE", "1")) == 1
            heartbeat = run.create_heartbeat()
            catalog = (
                from_config.resolve_dataset(config, lambda done_count, total_count: heartbeat.beat())
                if is_new_run
                else None
            )
            prefetched = prefetch.start_prefetcher(catalog, config) if catalog else None
            if prefetched:
                stack.enter_context(prefetched)
        yield from training_loop.result().train(config, run, catalog=catalog, prefetched=prefetched)


def _import_training_loop(config: TrainConfig) -> ModuleType:
    """The engine, and the package that makes its network."""
    from ftlab.models.pretrained import libraries

    training_loop = lazy_import.import_module("ftlab.training.loop")
    libraries.import_library(backbones.get_backbone_spec(config.backbone).source)
    return training_loop


def _record_events(events: Iterator[Event], run: Run) -> Iterator[Event]:
    """Each event is on the disk before it is told; an error becomes the run's last word.

    Raises:
        RunError: an event cannot be written. The last checkpoint stands.
    """
    try:
        for event in events:
            if is_main_process():
                run.append_event(event)
            yield event
    except Exception as cause:
        if is_main_process():
            with suppress(RunError):  # the error on its way up is told on the terminal, and in the log
                run.append_event(_make_failed_event(run, postmortem.describe_error(cause)))
        raise


def _make_failed_event(run: Run, message: str) -> Ended:
    history = run.load_history()
    best = history.best_epoch
    return Ended(
        reason="failed",
        epoch=history.epochs[-1].epoch if history.epochs else 0,
        step=history.steps_done,
        best_epoch=best.epoch if best else None,
        best_val_accuracy=best.val_accuracy if best else None,
        seconds=0.0,
        message=message,
    )


def create_run(config: TrainConfig, runs_dir: str) -> Run:
    """A new run: the one that whoever started this process has made for it, or one of its own. The processes that
    torchrun started share one.

    Raises:
        DataError: there is no such folder, zip or list of pictures.
        RunError: the folder cannot be written.
    """
    adopted_run = take_adopted_run()
    if adopted_run is not None:
        return adopted_run
    if config.data:
        from ftlab.data.sources.locate import locate_dataset

        locate_dataset(config.data)  # no run is made for a folder that is not there
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return run_store.create_run(runs_dir, config)
    from ftlab.training.devices import device_setup

    return Run(device_setup.broadcast_from_main(config, lambda: str(run_store.create_run(runs_dir, config).path)))


def is_adopting_run() -> bool:
    """Whether this process was started for a run that is there already."""
    return launch.RUN_FOLDER_ENV in os.environ


def take_adopted_run() -> Run | None:
    """The run that this process was started for, by the page."""
    path = os.environ.pop(launch.RUN_FOLDER_ENV, None)
    return Run(path) if path else None


def is_main_process() -> bool:
    """Whether this is the first, or only, of the processes of a training: the one that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0
