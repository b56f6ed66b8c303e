"""Address of the cluster that trainings are submitted to, Ray's or Slurm's, declared in the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from ftlab.core.errors import ConfigError

CLUSTER_ENV = "FTLAB_CLUSTER"
"""Environment variable: address of the cluster that queued trainings go to; empty: this machine."""
CURRENT_CLUSTER = "auto"
"""Address of the Ray cluster that this machine belongs to."""
SLURM_EXECUTORS = {"slurm": "slurm", "slurm-local": "local"}
"""submitit's executor by the address before the question mark: Slurm, or this machine in its place, to try it."""


_SENT_VARIABLES = ("TORCH_HOME", "HF_HOME", "HF_HUB_OFFLINE")
"""Variables that processes of a cluster get besides those of ftlab: where weights lie, on a path that all share."""


def declare_cluster(address: str | None) -> None:
    """Let the trainings that this process queues from now on go to a cluster.

    Args:
        address: as `check_address` accepts it; None or empty: what the environment says stays.

    Raises:
        ConfigError: the address cannot be used, or Ray is not installed here.
    """
    address = address or os.environ.get(CLUSTER_ENV)
    if address:
        check_address(address)
        if find_spec("submitit" if is_slurm_address(address) else "ray") is None:
            raise ConfigError("cluster.submitit_missing" if is_slurm_address(address) else "cluster.missing")
        os.environ[CLUSTER_ENV] = address


def is_cluster_declared() -> bool:
    """Return whether the trainings that this process queues go to a cluster."""
    return bool(os.environ.get(CLUSTER_ENV))


def check_address(address: str) -> None:
    """Check the address of a cluster before a run is created.

    Args:
        address: `http://HEAD:8265`, where the dashboard of the head answers, `auto`, or see `parse_slurm_address`.

    Raises:
        ConfigError: it is a `ray://` address, whose driver would end with this process, or no address at all.
    """
    if address == CURRENT_CLUSTER or is_slurm_address(address):
        return
    parts = urlsplit(address)
    if parts.scheme == "ray":
        raise ConfigError("cluster.client_address", host=parts.hostname or "HEAD")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("cluster.address", address=address)


def is_slurm_address(address: str) -> bool:
    """Return whether an address is that of the Slurm cluster of this machine."""
    return address.partition("?")[0] in SLURM_EXECUTORS


def parse_slurm_address(address: str) -> tuple[str, dict[str, int | str]]:
    """Return submitit's executor and the options of a job.

    Args:
        address: `slurm`, or with options as submitit names them: `slurm?partition=gpu&nodes=2`.

    Returns:
        Name of the executor, and the options: whole numbers as such.
    """
    name, _, query = address.partition("?")
    options = {key: int(value) if value.isdecimal() else value for key, value in parse_qsl(query)}
    return SLURM_EXECUTORS[name], options


def select_variables(environment: Mapping[str, str], is_sent: Callable[[str], bool]) -> dict[str, str]:
    """Return the environment variables that a process of the cluster gets: nothing else leaves this machine.

    Args:
        environment: to choose from.
        is_sent: returns whether a variable of ftlab is among them, by its name.

    Returns:
        These, where weights lie, and the path from which this ftlab is imported.
    """
    import_root = str(Path(__file__).resolve().parents[3])
    return {
        **{name: value for name, value in environment.items() if is_sent(name) or name in _SENT_VARIABLES},
        "PYTHONPATH": os.pathsep.join(filter(None, [import_root, environment.get("PYTHONPATH")])),
    }
