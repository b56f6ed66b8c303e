"""Several processes of this machine that train one run, started and followed by this process as torchrun does it.

This process is the one that the run names, so that the page, the queue and `stop` deal with it as with any other: if it
is ended, its ranks end too, and what becomes of them is its own exit status.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftlab.cli.common import train_process
from ftlab.config.train_config import TrainConfig
from ftlab.core import interruption, machine, messages
from ftlab.core.errors import ConfigError
from ftlab.runs.directory import Run
from ftlab.runs.jobs import launch, priority
from ftlab.runs.queue import start_gate
from ftlab.runs.stop_guard import StopGuard
from ftlab.training.devices import rank_environment

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


class _RanksDecide:
    """Leaves it to the ranks when to end after a signal: they save first."""

    def handle_signal(self, signal_number: int) -> None:
        """Do nothing: torchrun's own handler passes the signal on."""

    def poll(self) -> None:
        """Do nothing."""


def needs_ranks(config: TrainConfig) -> bool:
    """Return whether processes are still to be started for a training: no launcher has done so."""
    return config.processes > 1 and not rank_environment.has_launcher()


def train_in_ranks(run: Run, command: Sequence[str], config: TrainConfig) -> int:
    """Train a run with the processes that its configuration asks for, and wait for them.

    Args:
        run: to train; new or resumed.
        command: that each rank runs, as a person would type it: `python -m ftlab train …`.
        config: of the run.

    Returns:
        Exit status: 130 after Ctrl+C, that of the rank that failed first, 2 if it was killed, else 0.
    """
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    _check_devices(config)
    run.liveness.claim_ownership()
    os.environ.update(launch.build_environment(**{start_gate.RUN_FOLDER_ENV: str(run.path)}))
    # The ranks inherit the lower priority, and must not lower it once more.
    os.environ.pop(priority.PRIORITY_ENV, None)
    # torchrun would choose 1, and say so in four lines.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, machine.count_cpu_cores() // config.processes)))
    # The ranks and the run say what happened.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    place = ("--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", str(config.processes))
    guard = StopGuard()
    with interruption.handle_interrupts(_RanksDecide()):
        try:
            torchrun.run(torchrun.parse_args([*place, *command[1:]]))
        except ChildFailedError as error:
            return _report_failure(run, config, guard, error)
        except SignalException as error:
            return interruption.INTERRUPTED_STATUS if error.sigval == signal.SIGINT else 0
    return 0


def _check_devices(config: TrainConfig) -> None:
    """Check that each process gets a device.

    Raises:
        ConfigError: there are fewer GPUs, or the device is one that processes cannot share out.
    """
    import torch

    from ftlab.models.execution.device import detect_device

    device = detect_device() if config.device == "auto" else config.device
    if device == "cuda" and config.processes > torch.cuda.device_count():
        raise ConfigError("config.processes_gpus", count=config.processes, gpus=torch.cuda.device_count())
    if device not in ("cpu", "cuda"):
        raise ConfigError("config.processes_device", device=device)


def _report_failure(run: Run, config: TrainConfig, guard: StopGuard, error: ChildFailedError) -> int:
    """Say what became of the ranks, where none of them could.

    Args:
        run: that was trained.
        config: of the run.
        guard: knows when the ranks were started.
        error: names the rank that failed first.

    Returns:
        The exit status for it.
    """
    rank, failure = error.get_first_failure()
    exit_status: int = failure.exitcode
    if exit_status < 0 and run.liveness.read_end_event() is None:
        message = messages.get_text(
            "error.run.rank_killed",
            rank=rank, count=config.processes, signal=signal.Signals(-exit_status).name, run=run.name,
        )  # fmt: skip
        run.append_event(train_process.make_end_event(run, guard, "failed", message))
        print(f"ftlab: {message}", file=sys.stderr)
    run.liveness.release_ownership()
    return exit_status if exit_status > 0 else 2
