"""A line of the table of benchmarks: each program prints its own as JSON, `python -m benchmarks` collects them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
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
    def reached(self) -> bool:
        """Whether it keeps to its bound. What was not measured, or has no bound, falls short of nothing."""
        if self.figure is None or self.wanted is None:
            return True
        return self.figure <= self.wanted if self.most else self.figure >= self.wanted

    @property
    def markdown(self) -> str:
        """A line of the table."""
        bound = "–" if self.wanted is None else f"{'≤' if self.most else '≥'} {self.wanted:g} {self.unit}"
        figure = "not measured" if self.figure is None else f"**{self.figure:.3g} {self.unit}**"
        return f"| {self.what} | {bound} | {figure}{'' if self.reached else ' ✗'} | {self.seen} |"


def at_least(what: str, figure: float | None, wanted: float | None, unit: str, seen: str) -> None:
    """Print a figure that had better be large."""
    _tell(Row(what, figure, wanted, False, unit, seen))


def at_most(what: str, figure: float | None, wanted: float | None, unit: str, seen: str) -> None:
    """Print a figure that had better be small."""
    _tell(Row(what, figure, wanted, True, unit, seen))


def of_line(line: str) -> Row | None:
    """The row that a program has printed; None where the line is another."""
    try:
        told: Any = json.loads(line)
        return Row(**told["row"])
    except (ValueError, TypeError, KeyError):
        return None


def seconds(work: Callable[[], None]) -> float:
    """That a piece of work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _tell(row: Row) -> None:
    print(json.dumps({"row": asdict(row)}, ensure_ascii=False), flush=True)
