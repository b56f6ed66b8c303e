"""All benchmarks in turn, and their table: `python -m benchmarks FOLDER`, `make bench ARGS=FOLDER`.

FOLDER has `train/` and `val/` with a folder a class of photographs in each (PyTorch's ants and bees). Each program runs
in a process of its own, and prints what it measures as it goes. With `--write`, docs/benchmarks.md is made anew.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks import row
from benchmarks.row import Row
from ftlab.data.loader import cores

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS: tuple[tuple[str, ...], ...] = (
    ("startup", "FOLDER"),
    ("pipeline", "FOLDER"),
    ("looking",),
    ("full_speed", "FOLDER"),
    ("full_speed", "FOLDER", "--backbone", "resnet18"),
    ("growth", "FOLDER"),
    ("page",),
    ("many_pictures", "FOLDER"),
    ("tutorial_loop", "FOLDER", "--mode", "frozen"),
    ("tutorial_loop", "FOLDER", "--mode", "full", "--epochs", "10"),
    ("tutorial_loop", "FOLDER", "--mode", "full", "--epochs", "10", "--backbone", "resnet18", "--random"),
)
_BEGIN, _END = "<!-- measured -->", "<!-- end -->"


def main() -> int:
    """Run them; the status is 1 where one has failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=sorted({one[0] for one in PROGRAMS}), metavar="NAME")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args()
    rows: list[Row] = []
    failed = False
    for name, *rest in PROGRAMS:
        if options.only and name not in options.only:
            continue
        words = [str(options.folder.absolute()) if word == "FOLDER" else word for word in rest]
        with subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{name}", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            for line in process.stdout:
                print(line, end="", flush=True)
                found = row.of_line(line)
                rows += [found] if found else []
        failed |= process.returncode != 0
    table = _table(rows)
    print(f"\n{table}")
    if options.write:
        _write(table)
    return int(failed)


def _table(rows: list[Row]) -> str:
    head = ["| what | to reach | measured | made of |", "|---|---|---|---|"]
    return "\n".join([_machine(), "", *head, *(one.markdown for one in rows)])


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime", "pillow", "gradio"))
    system = f"{platform.system()} {platform.machine()}, {cores()} cores, Python {platform.python_version()}"
    load = f"load before {os.getloadavg()[2]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{time.strftime('%Y-%m-%d')}; {system}; {packages}; {load}"


def _write(table: str) -> None:
    page = ROOT / "docs" / "benchmarks.md"
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_BEGIN}\n\n{table}\n\n{_END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
