"""The tables of docs/benchmarks.md: one for each state of the machine in which something was measured."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from benchmarks.row import Row
from ftlab.core.machine import cores

BEGIN, END = "<!-- measured -->", "<!-- end -->"
_HEAD = "| what | to reach | measured | made of |\n|---|---|---|---|"
_PACKAGES = ("torch", "onnxruntime", "pillow", "gradio")


def machine() -> str:
    """The day, this machine, what is installed on it, and how busy it was in the quarter of an hour before."""
    system = f"{platform.system()} {platform.machine()}, {cores()} cores, Python {platform.python_version()}"
    packages = ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name)))
    parts = [time.strftime("%Y-%m-%d"), system, packages]
    if hasattr(os, "getloadavg"):
        parts.append(f"load before under {math.floor(os.getloadavg()[2]) + 1}")
    return "; ".join(parts)


def made(machine: str, rows: Sequence[Row]) -> str:
    """A table of its own, below the line that tells the machine."""
    return _table(machine, [one.markdown for one in rows])


def renewed(page: str, machine: str, rows: Sequence[Row], *, whole: bool) -> str:
    """The page with these rows in it.

    Args:
        page: with what was measured before between `BEGIN` and `END`.
        machine: that measured them, as `machine()` tells it.
        whole: they are all there are, and what stood there goes. Else each takes the place of the one that measures the
            same, below the line of its own machine, and all others stay as they are.
    """
    before, _, rest = page.partition(BEGIN)
    measured, _, after = rest.partition(END)
    tables = {} if whole else _read(measured)
    names = {_what(one.markdown) for one in rows}
    own = tables.pop(machine, [])
    kept = {name: [line for line in lines if _what(line) not in names] for name, lines in tables.items()}
    fresh = {_what(one.markdown): one.markdown for one in rows}
    kept[machine] = [*(fresh.pop(_what(line), line) for line in own), *fresh.values()]
    text = "\n\n".join(_table(name, lines) for name, lines in kept.items() if lines)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def _read(measured: str) -> dict[str, list[str]]:
    """The lines of the tables, by machine."""
    tables: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in measured.splitlines():
        if line.startswith("| ") and line != _HEAD.splitlines()[0]:
            lines.append(line)
        elif line and not line.startswith("|"):
            lines = tables.setdefault(line, [])
    return tables


def _table(machine: str, lines: Sequence[str]) -> str:
    return "\n".join([machine, "", _HEAD, *lines])


def _what(line: str) -> str:
    return line.split("|")[1].strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # a machine for the engine alone has no page
        return None
