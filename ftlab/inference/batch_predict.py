"""Many pictures through one model: by the fastest engine there is for it, on all cores, each picture alone.

What it says of a picture is what `Predictor.top` says but for rounding (float32, about 1e-6 of the largest logit).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from ftlab.core.errors import PictureError
from ftlab.core.machine import cores
from ftlab.data.images.decode import read
from ftlab.data.transforms import preprocess
from ftlab.inference.predictor import Predictor, Score
from ftlab.models.execution import engines, features
from ftlab.models.execution.engines import Engine
from ftlab.models.execution.features import Features
from ftlab.training.devices import device_setup

_PIECE = 1024
"""Pictures that are answered together: of more, their logits alone would fill the memory."""


def engine(model: Predictor, looks: int) -> Engine:
    """The fastest that there is for so many looks: uint8 [B, 3, side, side] -> logits float32 [B, K]."""
    whole = nn.Sequential(model.network.backbone, model.network.head)
    normalise = partial(preprocess.normalise, prep=model.prep)
    device = torch.device(device_setup.available())
    return engines.choose(whole, model.row, normalise, model.prep.side, device, looks=looks)


def logits(
    model: Predictor,
    run: Engine,
    files: Sequence[Path],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Features:
    """Logits of all files that can be read, as `vectors` float32 [1, N, K].

    Args:
        run: of `engine`.
        progress: called as pictures are done.
    """

    def pixels(index: int) -> Tensor:
        return preprocess.evaluation(read(files[index], at_least=model.prep.detail), model.prep)[None]

    found = Features(torch.empty(1, 0, 0), [], [])
    for part in features.compute(run, len(files), 1, pixels, torch.device(device_setup.available()), cores()):
        if isinstance(part, Features):
            found = part
        else:
            progress(part, len(files))
    return found


def tops(model: Predictor, files: Sequence[Path], k: int) -> Iterator[tuple[Path, list[Score] | PictureError]]:
    """The k most probable classes of each file in turn, or why it cannot be read."""
    run = engine(model, len(files))
    for start in range(0, len(files), _PIECE):
        piece = files[start : start + _PIECE]
        found = logits(model, run, piece)
        rows = dict(zip(found.indices, found.vectors[0], strict=True))
        refused = dict(found.skipped)
        for index, file in enumerate(piece):
            yield file, model.ranked(rows[index], k) if index in rows else refused[index]
