"""One look at each picture of a data set: what it holds to the byte, how sharp it is, and what the backbone sees in it.

Everything that the doctor's findings rest on is measured here, once a file: what is known of a file that has not
changed since is kept in `FTLAB_HOME` and not measured again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ftlab.config import backbones
from ftlab.config.backbones import Backbone
from ftlab.core import file_io
from ftlab.core.machine import cores
from ftlab.data.dataset.catalog import Catalog, Item
from ftlab.data.images import decode
from ftlab.data.images.decode import Pixels
from ftlab.data.transforms import preprocess
from ftlab.models import network
from ftlab.models.execution import engines, features
from ftlab.models.execution.features import Features

VERSION = 1
"""Of what is measured: what another one kept is measured anew."""
SMALL = 32
"""Pixels a side of the small picture that is kept of each."""
_BOX = 9
"""Pixels over which `blur` averages, as in the paper."""


@dataclass(frozen=True)
class Facts:
    """What is known of one file.

    Attributes:
        size, changed: bytes and time of the last change in ns: the file is the same as long as these are.
        content: SHA-256 of the file, hex.
        pixels: SHA-256 of the decoded picture and its shape, hex.
        width, height: of the upright picture, in pixels.
        blur: see `blur`, in [0, 1].
    """

    size: int
    changed: int
    content: str
    pixels: str
    width: int
    height: int
    blur: float


@dataclass(frozen=True)
class Measured:
    """What was found, N pictures in the order of `items`.

    Attributes:
        items: (split, item) of each picture that could be read.
        facts: of each.
        small: uint8 [N, 32, 32, 3], each whole picture averaged down.
        vectors: float16 [N, D], what the backbone saw.
        unread: paths that could not be read.
    """

    items: list[tuple[str, Item]]
    facts: list[Facts]
    small: npt.NDArray[np.uint8]
    vectors: Tensor
    unread: list[str]


def measure(
    catalog: Catalog, chosen: Sequence[tuple[str, Item]], backbone: str, kept: Path
) -> Iterator[int | Measured]:
    """Look at pictures: how many are known so far, at last what was found.

    Args:
        catalog: of the pictures.
        chosen: split and item of those to look at.
        backbone: whose features are taken; it needs its pretrained weights.
        kept: file that holds what was measured before, and will hold what is known then.

    Raises:
        WeightsError: the backbone's weights are neither here nor to be had.
    """
    row = backbones.get(backbone)
    before = _load(kept, row)
    states = [_state(catalog.path(item)) for _, item in chosen]
    known: dict[int, tuple[Facts, npt.NDArray[np.uint8], Tensor]] = {}
    for index, (_, item) in enumerate(chosen):
        found = before.get(item.path)
        if found and (found[0].size, found[0].changed) == states[index]:
            known[index] = found
    wanted = [index for index in range(len(chosen)) if index not in known]
    yield len(known)
    if wanted:
        for part in _look(catalog, [chosen[index][1] for index in wanted], [states[index] for index in wanted], row):
            if isinstance(part, dict):
                known |= {wanted[place]: found for place, found in part.items()}
            else:
                yield len(known) + part
    order = sorted(known)
    measured = Measured(
        items=[chosen[index] for index in order],
        facts=[known[index][0] for index in order],
        small=np.stack([known[index][1] for index in order]) if order else np.empty((0, SMALL, SMALL, 3), np.uint8),
        vectors=torch.stack([known[index][2] for index in order]) if order else torch.empty(0, row.width).half(),
        unread=[item.path for index, (_, item) in enumerate(chosen) if index not in known],
    )
    if wanted:
        _keep(kept, row, measured)
    yield measured


def blur(grey: npt.NDArray[Any]) -> float:
    """How blurred a picture, uint8 [H, W], is: 0 sharp, 1 without any fine detail, or of one tone.

    How much of the difference between neighbours is left when the picture is blurred once more: nearly all where it
    was blurred before. It depends little on what the picture shows (Crété-Roffet et al., 2007, "The blur effect:
    perception and estimation with a new no-reference perceptual blur metric", SPIE 6492, section 2).
    """
    picture, found = grey.astype(np.float32), 0.0
    for axis, box in ((1, (_BOX, 1)), (0, (1, _BOX))):
        sharp = np.abs(np.diff(picture, axis=axis))
        smooth = np.abs(np.diff(cv2.blur(picture, box), axis=axis))
        total = float(sharp.sum())
        lost = float(np.maximum(0, sharp - smooth).sum())
        found = max(found, (total - lost) / total if total > 0 else 1.0)
    return found


Found = dict[int, tuple[Facts, npt.NDArray[np.uint8], Tensor]]


def _look(
    catalog: Catalog, items: Sequence[Item], states: Sequence[tuple[int, int]], row: Backbone
) -> Iterator[int | Found]:
    """Pictures done, at last what was found, by position in `items`."""
    prep = preprocess.of(row)
    facts: dict[int, tuple[Facts, npt.NDArray[np.uint8]]] = {}

    def read(index: int) -> Tensor:
        path = catalog.path(items[index])
        pixels = decode.read(path, at_least=prep.detail)
        scaled = preprocess.resized(pixels, prep)
        facts[index] = _facts(path, pixels, scaled, states[index]), _averaged(pixels)
        return preprocess.centre(scaled, prep.side)[None]

    net = network.build(row, 1, pretrained=True).eval().requires_grad_(False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    given = (net.backbone, row, lambda batch: preprocess.normalise(batch, prep), prep.side, device)
    work = features.compute(engines.choose(*given, looks=len(items)), len(items), 1, read, device, cores())
    for part in work:
        if isinstance(part, Features):
            vectors = part.vectors[0].half()
            yield {index: (*facts[index], vectors[place]) for place, index in enumerate(part.indices)}
        else:
            yield part


def _facts(path: Path, pixels: Pixels, scaled: Tensor, state: tuple[int, int]) -> Facts:
    content = b""
    with open(path, "rb") as file:
        content = hashlib.file_digest(file, "sha256").digest()
    shown = hashlib.sha256(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes())
    width, height = decode.size(path)
    grey = cv2.cvtColor(scaled.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)
    return Facts(*state, content.hex(), shown.hexdigest(), width, height, round(blur(grey), 4))


def _averaged(pixels: Pixels) -> npt.NDArray[np.uint8]:
    return cv2.resize(pixels, (SMALL, SMALL), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _state(path: Path) -> tuple[int, int]:
    """Bytes, and time of the last change in ns; of a file that is gone (-1, -1)."""
    try:
        facts = os.stat(path)
    except OSError:
        return -1, -1
    return facts.st_size, facts.st_mtime_ns


def _load(kept: Path, row: Backbone) -> dict[str, tuple[Facts, npt.NDArray[np.uint8], Tensor]]:
    """What is kept, by path; nothing where the file is not there, is damaged, or of another version."""
    try:
        tensors = load_file(kept)
        told = json.loads(bytes(tensors["told"].numpy()))
        if told["by"] != _by(row):
            return {}
        small = tensors["small"].numpy()
        return {
            path: (Facts(*values), small[place], tensors["vectors"][place])
            for place, (path, values) in enumerate(told["files"].items())
        }
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, IndexError):
        return {}


def _by(row: Backbone) -> str:
    """What measured: another one gives other values."""
    told = json.dumps([VERSION, row.to_json()], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _keep(kept: Path, row: Backbone, measured: Measured) -> None:
    files = {item.path: list(vars(one).values()) for (_, item), one in zip(measured.items, measured.facts, strict=True)}
    told = json.dumps({"by": _by(row), "files": files}).encode()
    tensors = {
        "told": torch.frombuffer(bytearray(told), dtype=torch.uint8),
        "small": torch.from_numpy(measured.small),
        "vectors": measured.vectors,
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    with file_io.fresh(kept) as part:
        save_file(tensors, part)
