"""Tables of docs/benchmarks.md: one for each state of the machine in which something was measured."""

from __future__ import annotations

import math
import os
import platform
import re
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from benchmarks import gemm
from benchmarks.row import Measurement
from ftlab.core.machine import count_cpu_cores

BEGIN_MARKER, END_MARKER = "<!-- measured -->", "<!-- end -->"
_TABLE_HEADER = "| What was compared | Target | Measured | Details |\n|---|---|---|---|"
_PEAK_PATTERN = re.compile(r"(\d+) GFLOP/s")
_SAME_PEAK_RATIO = 1.2
_PACKAGES = ("torch", "onnxruntime", "pillow", "gradio")


def describe_machine() -> str:
    """Return a line with the date, this machine, its packages, its load average of 15 minutes, and its GEMM peak."""
    system = f"{platform.system()} {platform.machine()}, {count_cpu_cores()} cores, Python {platform.python_version()}"
    packages = ", ".join(f"{name} {package_version}" for name in _PACKAGES if (package_version := _find_version(name)))
    parts = [time.strftime("%Y-%m-%d"), system, packages]
    if hasattr(os, "getloadavg"):
        # A whole number, so that rows measured under a similar load share a table.
        parts.append(f"load before under {math.floor(os.getloadavg()[2]) + 1}")
    return "; ".join([*parts, gemm.describe_gemm_peak()])


def render_table(machine_info: str, rows: Sequence[Measurement]) -> str:
    """Return a Markdown table below the line that describes the machine."""
    return _format_table(machine_info, [row.markdown for row in rows])


def update_page(page: str, machine_info: str, rows: Sequence[Measurement], *, replace_all: bool) -> str:
    """Return the page with these rows in it.

    Args:
        page: text with the earlier tables between `BEGIN_MARKER` and `END_MARKER`.
        machine_info: what `describe_machine` returned before the rows were measured.
        rows: measured rows.
        replace_all: drop all earlier rows. Otherwise each row replaces the earlier one of the same name, in the table
            of its own machine, and all others stay. Two states of a machine share a table where their lines differ
            in nothing but the peak of matrix products, by at most `_SAME_PEAK_RATIO`.
    """
    prefix, _, remainder = page.partition(BEGIN_MARKER)
    old_tables, _, suffix = remainder.partition(END_MARKER)
    tables = {} if replace_all else _parse_tables(old_tables)
    row_names = {_parse_row_name(row.markdown) for row in rows}
    # The table of this machine comes last; its rows keep their order.
    machine_info = next((line for line in tables if _is_same_state(line, machine_info)), machine_info)
    own_lines = tables.pop(machine_info, [])
    kept_tables = {
        table_name: [line for line in lines if _parse_row_name(line) not in row_names]
        for table_name, lines in tables.items()
    }
    new_lines = {_parse_row_name(row.markdown): row.markdown for row in rows}
    kept_tables[machine_info] = [
        *(new_lines.pop(_parse_row_name(line), line) for line in own_lines),
        *new_lines.values(),
    ]
    text = "\n\n".join(_format_table(table_name, lines) for table_name, lines in kept_tables.items() if lines)
    return f"{prefix}{BEGIN_MARKER}\n\n{text}\n\n{END_MARKER}{suffix}"


def _parse_tables(text: str) -> dict[str, list[str]]:
    """Return the rows of the tables by the line that describes the machine."""
    tables: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("| ") and line != _TABLE_HEADER.splitlines()[0]:
            lines.append(line)
        elif line and not line.startswith("|"):
            lines = tables.setdefault(line, [])
    return tables


def _is_same_state(line: str, other_line: str) -> bool:
    """Return whether two lines describe the same machine at the same speed."""
    (text, peaks), (other_text, other_peaks) = map(_split_peaks, (line, other_line))
    return text == other_text and all(
        max(pair) <= _SAME_PEAK_RATIO * min(pair) for pair in zip(peaks, other_peaks, strict=True)
    )


def _split_peaks(line: str) -> tuple[str, list[float]]:
    """Return the line of a machine without the peaks of matrix products, and the peaks in GFLOP/s."""
    return _PEAK_PATTERN.sub("# GFLOP/s", line), [float(peak) for peak in _PEAK_PATTERN.findall(line)]


def _format_table(machine_info: str, lines: Sequence[str]) -> str:
    """Return a Markdown table of rendered rows."""
    return "\n".join([machine_info, "", _TABLE_HEADER, *lines])


def _parse_row_name(line: str) -> str:
    """Return the first cell of a row."""
    return line.split("|")[1].strip()


def _find_version(package: str) -> str | None:
    """Return the version of an installed package, else None."""
    try:
        return version(package)
    except PackageNotFoundError:  # a machine that only trains may have no gradio
        return None
