"""A training in this process: its events are written to the run and shown on the terminal, and it ends in order."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.cli.common import launched_run, stop_watch
from ftlab.cli.terminal import progress
from ftlab.cli.tracking.tracker_threads import TrackerThreads
from ftlab.config import backbones, trackers
from ftlab.config.train_config import TrainConfig
from ftlab.core import file_io, interruption, lazy_import, user_dirs
from ftlab.core.errors import ConfigError, RunError
from ftlab.runs.copies import remote_folder
from ftlab.runs.copies.copy_thread import CopyThread
from ftlab.runs.directory import Run
from ftlab.runs.events import Ended, Event
from ftlab.runs.jobs import postmortem
from ftlab.runs.stop_guard import StopGuard
from ftlab.training.devices import rank_environment
from ftlab.training.devices.rank_environment import is_main_process

if TYPE_CHECKING:
    from ftlab.data.dataset.from_config import DatasetSource
    from ftlab.data.loading.prefetch import Prefetcher

_MAX_IMPORT_SECONDS = 1800.0
"""Seconds after which an import or a scan counts as hanging."""


def run_training(
    run: Run,
    config: TrainConfig,
    source: DatasetSource | None = None,
    guard: StopGuard | None = None,
    report_end: Callable[[Ended], None] = lambda _end_event: None,
) -> Ended | None:
    """Train in this process, and record and show the events; Ctrl+C and SIGTERM stop it as the Stop button does.

    A training that does not hear a stop within a second is ended by another thread, if this process is watched
    (`interruption.watch_process`); what it has computed is saved.

    Args:
        run: to train; new or resumed.
        config: of the run.
        source: the located data set, if the caller has located it.
        guard: notes the signals that arrived.
        report_end: called after the last event was shown, also if another thread ends the process.

    Returns:
        The last event; None if the training did not get that far.
    """
    guard, tracker_threads, copy_thread = guard or StopGuard(), *_make_followers(run, config)

    def show_end(end_event: Ended) -> None:
        print(progress.format_event(end_event), file=sys.stderr, flush=True)
        tracker_threads.close()
        copy_thread.close()
        report_end(end_event)

    interrupt = stop_watch.TrainingInterrupt(
        run, config, guard, partial(make_end_event, run, guard), show_end, is_main_process=is_main_process()
    )
    with _own_run(run), stop_watch.stop_on_signals(run, guard), interruption.handle_interrupts(interrupt):
        events = tracker_threads.follow(_iter_training_events(run, config, source, guard))
        events = _record_events(copy_thread.follow(events), run, guard)
        end_event = progress.show_events(events, quiet=not is_main_process())
    if end_event is not None and is_main_process():
        report_end(end_event)
    return end_event


def record_training(run: Run, config: TrainConfig, source: DatasetSource | None = None) -> Generator[Event, None, None]:
    """Train in this process without a terminal, and write every event to the run: for the Python API.

    Args:
        run: to train; new or resumed.
        config: of the run.
        source: the located data set, if the caller has located it.

    Yields:
        The events of the training.

    Raises:
        KeyboardInterrupt: Ctrl+C was pressed; the training has stopped and is saved.
    """
    guard, tracker_threads, copy_thread = StopGuard(), *_make_followers(run, config)
    with _own_run(run), _keep_torch_state(), stop_watch.stop_on_signals(run, guard, in_program=False):
        events = tracker_threads.follow(_iter_training_events(run, config, source, guard))
        yield from _record_events(copy_thread.follow(events), run, guard)
    if guard.received_signals:
        raise KeyboardInterrupt


def _make_followers(run: Run, config: TrainConfig) -> tuple[TrackerThreads, CopyThread]:
    """Return what passes a training on to other places; of several ranks, only the main process has any."""
    is_main = is_main_process()
    return TrackerThreads(run, config.trackers if is_main else ""), CopyThread(run, config.copy_to if is_main else "")


@contextmanager
def _keep_torch_state() -> Iterator[None]:
    """Leave a caller that uses PyTorch its random state, number of threads and gradient mode."""
    if "torch" not in sys.modules:
        yield
        return
    import torch

    thread_count = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), torch.inference_mode(mode=False), torch.enable_grad():
        try:
            yield
        finally:
            torch.set_num_threads(thread_count)


@contextmanager
def _own_run(run: Run) -> Iterator[None]:
    """Own a run while it is trained, if this is the main process; `RunError` if another process owns it."""
    if is_main_process():
        run.liveness.claim_ownership()
        file_io.remove_stale_parts(run.path)  # of an earlier process of this run that was killed
    try:
        yield
    finally:
        if is_main_process():
            run.liveness.release_ownership()


def _iter_training_events(
    run: Run, config: TrainConfig, source: DatasetSource | None, guard: StopGuard
) -> Iterator[Event]:
    """Train, with the slow preparations of a new run in parallel.

    One thread imports the training loop, which takes a second or two, while this thread scans the images of a new run,
    and another process begins to decode them.

    Args:
        run: to train.
        config: of the run.
        source: the located data set, if the caller has located it.
        guard: says when the training may be ended.

    Yields:
        The events of the training.
    """
    from ftlab.data.dataset import from_config
    from ftlab.data.loading import prefetch
    from ftlab.models.pretrained import backbone_records, libraries

    prefetched: Prefetcher | None = None
    with ExitStack() as stack:
        # An import on a busy machine may take longer than a hanging run may be silent, and so may a scan.
        heartbeat = run.liveness.create_heartbeat()
        with ThreadPoolExecutor(1, "load") as loader, heartbeat.beat_during(_MAX_IMPORT_SECONDS):
            library_name = backbones.get_backbone_spec(config.backbone).source
            # By name and not by an import statement, so that the garbage collector is paused meanwhile.
            training_loop = loader.submit(lazy_import.import_module, "ftlab.training.loop")
            # Without a record of any backbone it is clear at once that this training needs its library.
            libraries_needed = (
                [] if backbone_records.has_records() else [loader.submit(libraries.import_library, library_name)]
            )
            # A resumed run has its split already; the processes of torchrun scan within the training loop.
            is_new_run = not (run.path / "split.json").is_file() and rank_environment.get_world_size() == 1
            catalog = (
                from_config.resolve_dataset(config, lambda _done, _total: heartbeat.beat(), source=source)
                if is_new_run
                else None
            )
            fingerprint = catalog.compute_fingerprint() if catalog else str(run.read_config_file().get("manifest", ""))
            # The features will be found in the cache: nothing is decoded then, and the backbone computes nothing.
            if not backbone_records.is_recorded(config, fingerprint):
                libraries_needed = libraries_needed or [loader.submit(libraries.import_library, library_name)]
                prefetched = prefetch.start_prefetcher(catalog, config) if catalog else None
                if prefetched:
                    stack.enter_context(prefetched)
            for library in libraries_needed:
                library.result()
            train = training_loop.result().train
        yield from train(config, run, source=source, catalog=catalog, prefetched=prefetched, guard=guard)


def _record_events(events: Iterator[Event], run: Run, guard: StopGuard) -> Iterator[Event]:
    """Write each event to the run before it is shown; an exception becomes the last event of the run.

    So does the end of whoever consumes the events. If an event cannot be written, `RunError` ends the training; the
    last checkpoint remains.

    Args:
        events: of the training.
        run: to record them.
        guard: its lock is held while an event is written.

    Yields:
        The events.

    Raises:
        GeneratorExit: from the consumer, passed on, as is `KeyboardInterrupt`.
    """  # noqa: DOC501
    try:
        for event in events:
            if is_main_process():
                with guard.event_lock:
                    run.append_event(event)
            yield event
    except (GeneratorExit, KeyboardInterrupt):
        if is_main_process() and run.liveness.read_end_event() is None:
            with suppress(RunError):
                run.append_event(make_end_event(run, guard, "stopped"))
        raise
    except Exception as cause:
        if is_main_process():
            # An exception that propagates is on the terminal and in the log anyway.
            with guard.event_lock, suppress(RunError):
                run.append_event(make_end_event(run, guard, "failed", postmortem.describe_error(cause)))
        raise


def make_end_event(run: Run, guard: StopGuard, reason: str, message: str | None = None) -> Ended:
    """Return the event that ends a run before its time, with its progress so far.

    Args:
        run: that was trained.
        guard: knows when it began.
        reason: `stopped` by whoever consumes the events or does not wait any longer, `time` (limit), or `failed` by an
            exception.
        message: of the exception.

    Returns:
        The event.
    """
    history = run.load_history()
    best = history.best_epoch
    return Ended(
        reason=reason,
        epoch=history.epochs[-1].epoch if history.epochs else 0,
        step=history.steps_done,
        best_epoch=best.epoch if best else None,
        best_val_accuracy=best.val_accuracy if best else None,
        seconds=time.monotonic() - guard.start_time,
        message=message,
    )


def prepare_config(config: TrainConfig, runs_dir: Path | str, *, trains_here: bool = True) -> TrainConfig:
    """Return the configuration of a new run as the run keeps it: with absolute paths, and with its weights located.

    Raised before a run is created: `init_from` that cannot be used gives a `WeightsError` or `RunError`.

    Args:
        config: as a person has given it; its backbone and its data are named, or it is refused.
        runs_dir: folder of all runs, for `init_from`.
        trains_here: its processes are those of this machine, and not of a cluster, which places them.

    Returns:
        The configuration. A run that the page has created has its weights located already.

    Raises:
        ConfigError: no data is named, the backbone does not exist, a tracker is not installed, or there are not as many
            processes as asked for. A `RunError` says that no copies can be made at `copy_to`.
    """
    if not (config.data or config.sample):
        raise ConfigError("config.no_source")
    trackers.check_trackers_installed(config.trackers)
    if trains_here:
        rank_environment.check_process_count(config.processes)
    backbones.get_backbone_spec(config.backbone)
    if config.init_from and not launched_run.is_adopting_run():
        from ftlab.models.pretrained import checkpoint_import

        config = checkpoint_import.resolve_init(config, runs_dir)
    # A run may be resumed from another working directory.
    given_paths = {name: path for name in ("exclude", "data", "copy_to") if (path := getattr(config, name))}
    if remote_folder.is_address(config.copy_to):
        remote_folder.RemoteFolder(
            given_paths.pop("copy_to")
        )  # its library is missed before the training, not after it
    if "://" in given_paths.get("data", ""):  # shards on a server
        del given_paths["data"]
    paths: dict[str, Any] = {name: str(user_dirs.expand_home(path).absolute()) for name, path in given_paths.items()}
    return replace(config, **paths)
