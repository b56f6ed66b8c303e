"""Ranks that compute the features of one split together: two on one machine, one on another, each of them forked.

    python tests/support/rank_tables.py PRECISION KILLED

Prints for each rank a line of JSON: what is in its table, and what is left in the folder of its machine. KILLED is the
rank that is killed when it has mapped the table, or `none`.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from accelerate import Accelerator
from torch import Tensor

from ftlab.core.errors import ImageError
from ftlab.models.execution import features
from ftlab.models.execution.engines import TorchEngine
from ftlab.models.execution.feature_rows import ROW_DTYPES, count_row_values, pack_rows
from ftlab.models.execution.features import Features
from ftlab.training.devices.rank_features import SplitTable
from tests.support.ranks import free_port

LOCAL_RANKS = (0, 1, 0)
"""Number of each rank on its machine."""
IMAGES, VIEWS, VALUES = 21, 2, 5
UNREADABLE = (4, 11)


def compute_vector(index: int, view: int) -> Tensor:
    """Features of a view: some are a negative zero, which a sum with zero would make positive."""
    values = torch.randn(VALUES, generator=torch.Generator().manual_seed(10 * index + view))
    values[index % VALUES] = -0.0
    return values


def read_views(index: int) -> Tensor:
    """The features themselves, in the place of pixels, as [V, D]."""
    if index in UNREADABLE:
        raise ImageError("missing", file=f"{index}.jpg")
    return torch.stack([compute_vector(index, view) for view in range(VIEWS)])


def expect(precision: str) -> str:
    """The bits of the table of a process that is alone."""
    rows = [pack_rows(read_views(index), precision) for index in range(IMAGES) if index not in UNREADABLE]
    return describe(torch.stack(rows, dim=1))


def describe(rows: Tensor) -> str:
    return f"{list(rows.shape)} {hashlib.sha256(rows.contiguous().numpy().tobytes()).hexdigest()}"


def compute(precision: str, *, is_killed: bool) -> None:
    accelerator = Accelerator(cpu=True)
    shape = (VIEWS, IMAGES, count_row_values(VALUES, precision))
    table = SplitTable(shape, ROW_DTYPES[precision], accelerator, features.allocate_in_memory)
    if is_killed:
        os.kill(os.getpid(), signal.SIGKILL)
    cpu = torch.device("cpu")
    *_, local_features = features.compute_features(
        TorchEngine(torch.nn.Identity(), torch.clone, cpu), IMAGES, VIEWS, read_views, cpu, 1, precision=precision,
        rank_part=table.rank_part, allocate_rows=table.allocate_rows,
    )  # fmt: skip
    assert isinstance(local_features, Features)
    joined = table.join_ranks(local_features)
    left_files = sorted(path.name for path in Path(os.environ["FTLAB_HOME"]).iterdir())
    report = {
        "table": describe(joined.vectors),
        "own": local_features.indices,
        "indices": joined.indices,
        "skipped": [(index, error.values["file"]) for index, error in joined.skipped],
        "left": left_files,
        "file": find_mapped_file(),
    }
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()
    accelerator.wait_for_everyone()


def find_mapped_file() -> str:
    """The number of the table's file, which has been deleted; empty where the system does not tell."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text(encoding="utf-8").splitlines() if maps.exists() else []
    return next((line.split()[4] for line in lines if "/rows-" in line), "")


def start_rank(rank: int, port: int, precision: str, *, is_killed: bool) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.environ |= {
        **{"RANK": str(rank), "LOCAL_RANK": str(LOCAL_RANKS[rank]), "WORLD_SIZE": str(len(LOCAL_RANKS))},
        **{"LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"},
        # The home folder of the machine.
        "FTLAB_HOME": str(Path(os.environ["FTLAB_HOME"], str(rank - LOCAL_RANKS[rank]))),
    }
    status = 1
    try:
        compute(precision, is_killed=is_killed)
        status = 0
    except RuntimeError as lost:  # gloo: another rank is gone
        print(lost, file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    free = free_port()
    pids = [start_rank(rank, free, sys.argv[1], is_killed=sys.argv[2] == str(rank)) for rank in range(len(LOCAL_RANKS))]
    sys.exit(max(abs(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])) for pid in pids))
