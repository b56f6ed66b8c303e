"""Measure this checkout and one of an older commit in turn, with the same interpreter.

    git worktree add ../old 658560c
    python -m benchmarks FOLDER --against ../old

A program adds the option with `add_against_option`, measures with `measure_in_turn`, and prints with `report_ratio`.
Both sides run in processes of their own, started in the folder of the checkout, which Python searches first.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import PROJECT_ROOT
from benchmarks.row import report_at_least, report_at_most

OLD_COMMIT = "658560c"
"""Commit that the targets refer to."""


@dataclass(frozen=True)
class PairedValues:
    """Values of this checkout and of the older one; those at one position were measured one after the other.

    Attributes:
        new: of this checkout.
        old: of the older checkout.
    """

    new: list[float]
    old: list[float]

    @property
    def ratio(self) -> float:
        """Return the median of the rounds' ratios, new by old: a slow phase of the machine hits both."""
        return statistics.median(new / old for new, old in zip(self.new, self.old, strict=True))

    def describe(self, unit: str, factor: float = 1.0) -> str:
        """Return both medians and the number of rounds.

        Args:
            unit: unit of the values after scaling.
            factor: what values are multiplied by, such as 1000 for milliseconds.
        """
        new, old = (f"{factor * statistics.median(values):.3g} {unit}" for values in (self.new, self.old))
        return f"now {new}, {OLD_COMMIT} {old}; medians of {len(self.new)} rounds"


def add_against_option(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add `--against WORKTREE`, a checkout of an older commit, to a program's options."""
    parser.add_argument(
        "--against",
        type=find_checkout,
        required=required,
        metavar="WORKTREE",
        help=f"checkout of an older commit: git worktree add ../old {OLD_COMMIT}",
    )


def find_checkout(folder: str) -> Path:
    """Return the absolute path of a checkout of ftlab.

    Raises:
        argparse.ArgumentTypeError: the folder is none.
    """
    path = Path(folder).absolute()
    if not (path / "ftlab" / "__init__.py").is_file():
        raise argparse.ArgumentTypeError(
            f"{folder} is no checkout of ftlab; make one: git worktree add {folder} {OLD_COMMIT}"
        )
    return path


def measure_in_turn(
    measure: Callable[[Path], float], worktree: Path, rounds: int, *, warm_up_rounds: int = 1
) -> PairedValues:
    """Measure both checkouts alternately; every second round starts with the older one.

    Args:
        measure: returns a value of the checkout whose folder it gets; usually runs `run_python(…, checkout)`.
        worktree: folder of the older checkout.
        rounds: measurements of each.
        warm_up_rounds: rounds before, which do not count: they fill the caches of files and bytecode.

    Returns:
        The values of both, in the order of the rounds.
    """
    values: dict[Path, list[float]] = {PROJECT_ROOT: [], worktree: []}
    for round_index in range(warm_up_rounds + rounds):
        for checkout in list(values) if round_index % 2 == 0 else reversed(list(values)):
            value = measure(checkout)
            if round_index >= warm_up_rounds:
                values[checkout].append(value)
    return PairedValues(values[PROJECT_ROOT], values[worktree])


def report_ratio(
    name: str, values: PairedValues, bound: float | None, details: str, *, larger_is_better: bool = False
) -> None:
    """Print the ratio of both checkouts as a row.

    Args:
        name: what was measured; should end in "relative to 658560c".
        values: what `measure_in_turn` returned.
        bound: target; None for no target.
        details: what the ratio was made of, usually begun by `values.describe(…)`.
        larger_is_better: whether values are rates rather than times or sizes.
    """
    report = report_at_least if larger_is_better else report_at_most
    report(name, values.ratio, bound, "×", details)
