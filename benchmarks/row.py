"""A line of the table of benchmarks: each program prints its own as JSON, `python -m benchmarks` collects them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """One figure.

    Attributes:
        what: was measured, against what, on what.
        figure: measured; None where it could not be measured here.
        wanted: the bound of the figure that was set for it; None where none was.
        most: whether the bound is the largest value that is good, else it is the smallest.
        unit: of both: `×`, `s`, `MB` …
        seen: what the figure was made of: medians, counts; or why there is none.
    """

    what: str
    figure: float | None
    wanted: float | None
    most: bool
    unit: str
    seen: str

    @property
    def is_within_bound(self) -> bool:
        """Whether it keeps to its bound. What was not measured, or has no bound, falls short of nothing."""
        if self.figure is None or self.wanted is None:
            return True
        return self.figure <= self.wanted if self.most else self.figure >= self.wanted

    @property
    def markdown(self) -> str:
        """A line of the table."""
        bound = "–" if self.wanted is None else f"{'≤' if self.most else '≥'} {self.wanted:g} {self.unit}"
        figure = "not measured" if self.figure is None else f"**{self.figure:.3g} {self.unit}**"
        return f"| {self.what} | {bound} | {figure}{'' if self.is_within_bound else ' ✗'} | {self.seen} |"


def report_at_least(name: str, figure: float | None, bound: float | None, unit: str, details: str) -> None:
    """Print a figure that had better be large."""
    _print_measurement(Measurement(name, figure, bound, False, unit, details))


def report_at_most(name: str, figure: float | None, bound: float | None, unit: str, details: str) -> None:
    """Print a figure that had better be small."""
    _print_measurement(Measurement(name, figure, bound, True, unit, details))


def parse_measurement(line: str) -> Measurement | None:
    """The row that a program has printed; None where the line is another."""
    try:
        data: Any = json.loads(line)
        return Measurement(**data["row"])
    except (ValueError, TypeError, KeyError):
        return None


def measure_seconds(work: Callable[[], None]) -> float:
    """That a piece of work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _print_measurement(measurement: Measurement) -> None:
    print(json.dumps({"row": asdict(measurement)}, ensure_ascii=False), flush=True)
