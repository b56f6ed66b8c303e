"""What a model said of pictures whose classes are known; kept in the run, so that no question needs a second pass.

`evaluation/<pictures>-<best|last>.safetensors`, sealed, and beside it a `.json` with how many were right. It counts as
long as weights and pictures are those it was made of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ftlab.core.errors import Amiss
from ftlab.data.dataset.catalog import Item
from ftlab.models import weights_file
from ftlab.runs.directory import Run

WHICH = ("best", "last")
"""The weights of a run that can be asked: the best by validation, and those of its last step."""
FOLDER = "evaluation"

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]
"""Called with pictures done and pictures in all."""


@dataclass(frozen=True)
class Pictures:
    """Pictures whose classes are known.

    Attributes:
        name: of a split, or of a folder that the training never saw, for files: `test`, `folder-0a1b2c3d`.
        root: folder that the items' paths are relative to.
        items: labels are indices into the model's classes.
        unknown: classes of the folder that the model does not know, and how many pictures of each were left out.
    """

    name: str
    root: Path
    items: tuple[Item, ...]
    unknown: tuple[tuple[str, int], ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex over path, label and size of every picture."""
        digest = hashlib.sha256()
        for item in self.items:
            digest.update(f"{item.path}\0{item.label}\0{item.size}\0".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


class Skipped(Amiss):
    """A picture that could not be read: its `path`, and what is wrong with it in two sentences."""

    def __init__(self, path: str, code: str, values: dict[str, object]) -> None:
        self.path, self.code, self.values = path, code, values


@dataclass(frozen=True)
class Outcome:
    """What a model said. N pictures, K classes.

    Attributes:
        pictures: their name, see `Pictures`.
        which: `best` or `last`.
        classes: names of the K classes.
        root: folder that the paths are relative to; it may be gone by now.
        paths: of the N pictures that could be read.
        labels: int64 [N], the true classes.
        logits: float32 [N, K].
        skipped: pictures that could not be read.
        unknown: as in `Pictures`.
        weights: checksum of the weights' file.
        seconds: that the pass took.
    """

    pictures: str
    which: str
    classes: tuple[str, ...]
    root: Path
    paths: tuple[str, ...]
    labels: Labels
    logits: Floats
    skipped: tuple[Skipped, ...]
    unknown: tuple[tuple[str, int], ...]
    weights: str
    seconds: float

    @cached_property
    def predicted(self) -> Labels:
        """The most probable class of each picture, int64 [N]."""
        return self.logits.argmax(1) if len(self.logits) else np.zeros(0, np.int64)

    @cached_property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether that is the true one, bool [N]; not where a logit is no number."""
        return (self.predicted == self.labels) & np.isfinite(self.logits).all(1)

    def path(self, index: int) -> Path:
        """Where a picture is, or was."""
        return self.root / self.paths[index]


def place(run: Run, pictures: str, which: str) -> Path:
    """The file of an outcome."""
    return run.path / FOLDER / f"{pictures}-{which}.safetensors"


def weights(run: Run, which: str) -> str:
    """The checksum of the weights that a run has now; empty where there are none, or damaged ones."""
    try:
        return weights_file.seal(run.best if which == "best" else run.last)
    except (weights_file.Broken, OSError):  # whoever loads them says what is wrong
        return ""


def write(run: Run, outcome: Outcome, fingerprint: str) -> None:
    """Keep an outcome in its run. `fingerprint` is that of its pictures.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    file = place(run, outcome.pictures, outcome.which)
    # Of a million pictures the names are too many for the header.
    tensors = {
        "paths": torch.frombuffer(bytearray(json.dumps(outcome.paths).encode()), dtype=torch.uint8),
        "labels": torch.from_numpy(outcome.labels),
        "logits": torch.from_numpy(outcome.logits),
    }
    header = {
        "pictures": outcome.pictures,
        "which": outcome.which,
        "classes": outcome.classes,
        "root": str(outcome.root),
        "skipped": [[one.path, one.code, dict(one.values)] for one in outcome.skipped],
        "unknown": outcome.unknown,
        "weights": outcome.weights,
        "seconds": outcome.seconds,
        "fingerprint": fingerprint,
    }
    with run.writing():
        file.parent.mkdir(exist_ok=True)
        weights_file.write(file, tensors, header)
    # For those who must not load torch, or all logits, to learn this much.
    told = {"right": int(outcome.right.sum()), "count": len(outcome.labels), "weights": outcome.weights}
    run.write(f"{FOLDER}/{file.stem}.json", told)


def read(run: Run, pictures: Pictures, which: str) -> Outcome | None:
    """The outcome that was kept, if it is of these pictures and of the weights that the run has now."""
    file = place(run, pictures.name, which)
    try:
        tensors, header = weights_file.load(file)
    except (weights_file.Broken, OSError):  # there is none, or it is damaged: made anew, nothing is lost
        return None
    if (header["weights"], header["fingerprint"]) != (weights(run, which), pictures.fingerprint):
        return None
    arrays = {key: value.numpy() for key, value in tensors.items()}
    return Outcome(
        header["pictures"],
        header["which"],
        tuple(header["classes"]),
        pictures.root,
        tuple(json.loads(arrays["paths"].tobytes())),
        arrays["labels"],
        arrays["logits"],
        tuple(Skipped(*one) for one in header["skipped"]),
        tuple((name, count) for name, count in header["unknown"]),
        header["weights"],
        header["seconds"],
    )
