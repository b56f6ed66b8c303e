"""How time and memory grow with the pictures of a folder and with processes: of a look through it, and of a training.

    python -m benchmarks.growth FOLDER --counts 1000 10000 100000 --processes 1 2 --draw assets/growth.svg

Files of about 300 × 200 pixels in 100 classes, which share the bytes of 1,000 that are cut from FOLDER's photographs. A
process of its own for each number lists them, and tries every one; others train on them (default backbone, frozen, 64
pixels, so that a look takes little time; its features are as long as ever), alone and as torchrun starts several, which
share the processor's cores among them. Memory is the peak of each process, and their sum without torchrun's own; what
they share, such as the libraries' code, counts in each. About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import photographs, table
from benchmarks.process import last_line
from benchmarks.row import at_least, at_most
from ftlab.core.machine import cores
from ftlab.runs.directory import Run
from ftlab.runs.events import Note
from ftlab.runs.jobs.launch import environment

_LOOK = """
import json, sys, time
from benchmarks.peak import megabytes
from ftlab.data.dataset import catalog
began = time.monotonic()
found = catalog.scan(sys.argv[1], check=False)
listed = time.monotonic() - began
began = time.monotonic()
found = catalog.scan(sys.argv[1])
checked = time.monotonic() - began
time.sleep(3)  # what was changed just now is not trusted
catalog.scan(sys.argv[1])
began = time.monotonic()
again = catalog.scan(sys.argv[1])
known = time.monotonic() - began
assert again == found
count = sum(map(len, found.splits.values()))
print(json.dumps({"listed": listed, "checked": checked, "known": known, "megabytes": megabytes(), "count": count}))
"""
_TRAIN = (
    *("train", "--side", "64", "--resize", "64", "--epochs", "2", "--json"),
    *("--val-share", "0.1", "--test-share", "0"),
)
_TOGETHER = (
    *("-m", "torch.distributed.run", "--local-addr", "127.0.0.1"),
    *("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"),  # a free port
)


@dataclass(frozen=True)
class Look:
    """Seconds in which a folder's files are listed, tried, and looked through once more; the peak of memory in 10⁶
    bytes."""

    listed: float
    checked: float
    known: float
    megabytes: float


@dataclass(frozen=True)
class Training:
    """Seconds of the whole command, those of them that features took, and each process's peak in 10⁶ bytes."""

    seconds: float
    features: float
    each: tuple[float, ...]

    @property
    def megabytes(self) -> float:
        return sum(self.each)

    @property
    def said(self) -> str:
        each = f" ({' + '.join(f'{one:.0f}' for one in self.each)})" if len(self.each) > 1 else ""
        return f"{self.seconds:.0f} s, {self.megabytes:.0f} MB{each}"


Looks = dict[int, Look]
"""By count of pictures."""
Trainings = dict[int, dict[int, Training]]
"""By processes, then count of pictures."""


def main() -> None:
    """Measure, print, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--draw", type=Path, metavar="FILE", help="SVG or PNG")
    options = parser.parse_args()
    machine = table.machine()
    looks: Looks = {}
    trainings: Trainings = {number: {} for number in options.processes}
    with tempfile.TemporaryDirectory() as scratch:
        some = photographs.cut(options.folder, Path(scratch, "some"), count=1000, classes=10, size=(300, 200))
        for count in options.counts:
            data = photographs.linked(some, Path(scratch, str(count)), count=count, classes=100)
            looks[count] = _looked(data, Path(scratch, f"home{count}"), count)
            for number in options.processes:
                trainings[number][count] = _trained(data, Path(scratch, f"home{count}-{number}"), number)
                print(f"{count:,} pictures, {number} at work: {trainings[number][count].said}", flush=True)
    _tell_looks(looks)
    _tell_trainings(trainings)
    if options.draw:
        from benchmarks.drawing import draw

        draw(looks, trainings, options.draw, machine)


def _looked(data: Path, home: Path, count: int) -> Look:
    told, _ = last_line(["-c", _LOOK, str(data)], FTLAB_HOME=str(home))
    assert told.pop("count") == count
    return Look(**told)


def _trained(data: Path, home: Path, processes: int) -> Training:
    peaks = home / "peaks"
    peaks.mkdir(parents=True)
    words = ["-m", "benchmarks.peak", str(peaks), *_TRAIN, "--data", str(data), "--runs", str(home / "runs")]
    if processes > 1:
        words = [*_TOGETHER, "--nproc-per-node", str(processes), *words]
    told, seconds = last_line(words, **environment(FTLAB_HOME=str(home)))
    assert told["reason"] == "finished"
    each = tuple(_json(file)["megabytes"] for file in sorted(peaks.iterdir()))
    assert len(each) == processes, "as many took part as were asked for"
    notes = [one for one in Run(Path(told["path"])).tail()[0] if isinstance(one, Note) and one.code == "features"]
    return Training(seconds, sum(float(str(note.values["seconds"])) for note in notes), each)


def _tell_looks(looks: Looks) -> None:
    many = max(looks)
    seen = "; ".join(
        f"{count:,}: {one.listed:.2f} s, {one.checked:.1f} s and {one.known:.1f} s, {one.megabytes:.0f} MB"
        for count, one in looks.items()
    )
    at_most(f"{many:,} files listed", looks[many].listed, 2, "s", seen)
    at_most(f"{many:,} files tried", looks[many].checked, 90, "s", seen)
    at_most(f"{many:,} files tried before, looked through again", looks[many].known, None, "s", seen)


def _tell_trainings(trainings: Trainings) -> None:
    first, *others = trainings
    few, many = min(trainings[first]), max(trainings[first])
    for number, found in trainings.items():
        more = (found[many].megabytes - found[few].megabytes) / 1000
        what = f"Peak memory of a training on {many:,} pictures above one on {few:,}"
        if number == 1:
            at_most(what, more, 1.5, "GB", _said(found))
        else:
            at_most(f"{what}, {number} processes together", more, None, "GB", _said(found))
    for number in others:
        alone, together = trainings[first][many], trainings[number][many]
        what = f"A training on {many:,} pictures, times as fast with {number} processes as with {first}"
        at_least(what, alone.seconds / together.seconds, None, "×", f"{alone.said}; {together.said}; {cores()} cores")


def _said(found: dict[int, Training]) -> str:
    return "; ".join(f"{count:,}: {one.said}" for count, one in found.items())


def _json(file: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return told


if __name__ == "__main__":
    main()
