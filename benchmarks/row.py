"""A row of the benchmark table: each program prints its own as JSON, `python -m benchmarks` collects them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """One measured value.

    Attributes:
        what: what was measured, against what, on what.
        figure: the value; None if it could not be measured here.
        wanted: its bound; None for no bound.
        most: whether the bound is the largest acceptable value, else the smallest.
        unit: unit of both: `×`, `s`, `MB` …
        seen: what the value was made of: medians, counts; or why there is none.
    """

    what: str
    figure: float | None
    wanted: float | None
    most: bool
    unit: str
    seen: str

    @property
    def is_within_bound(self) -> bool:
        """Return whether the value keeps to its bound; true if there is no value or no bound."""
        if self.figure is None or self.wanted is None:
            return True
        return self.figure <= self.wanted if self.most else self.figure >= self.wanted

    @property
    def markdown(self) -> str:
        """A row of a Markdown table."""
        bound = "–" if self.wanted is None else f"{'≤' if self.most else '≥'} {self.wanted:g} {self.unit}"
        figure = "not measured" if self.figure is None else f"**{self.figure:.3g} {self.unit}**"
        return f"| {self.what} | {bound} | {figure}{'' if self.is_within_bound else ' ✗'} | {self.seen} |"


def report_at_least(name: str, figure: float | None, bound: float | None, unit: str, details: str) -> None:
    """Print a value for which larger is better.

    Args:
        name: what was measured.
        figure: the value; None if it could not be measured here.
        bound: the smallest acceptable value; None for no bound.
        unit: unit of both.
        details: what the value was made of, or why there is none.
    """
    _print_measurement(Measurement(name, figure, bound, False, unit, details))


def report_at_most(name: str, figure: float | None, bound: float | None, unit: str, details: str) -> None:
    """Print a value for which smaller is better.

    Args:
        name: what was measured.
        figure: the value; None if it could not be measured here.
        bound: the largest acceptable value; None for no bound.
        unit: unit of both.
        details: what the value was made of, or why there is none.
    """
    _print_measurement(Measurement(name, figure, bound, True, unit, details))


def parse_measurement(line: str) -> Measurement | None:
    """Return the row that a program printed; None for any other line."""
    try:
        data: Any = json.loads(line)
        return Measurement(**data["row"])
    # Not JSON, not an object, or not a row of this version.
    except (ValueError, TypeError, KeyError):
        return None


def measure_seconds(work: Callable[[], None]) -> float:
    """Return the wall-clock seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _print_measurement(measurement: Measurement) -> None:
    """Print a row as a line of JSON."""
    print(json.dumps({"row": asdict(measurement)}, ensure_ascii=False), flush=True)
