"""The loop's batches where a frozen backbone looked at all pictures once: what it gave, by the view of each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice

import torch
from torch import Tensor

from ftlab.data.loading.loader import plan, views_of
from ftlab.data.loading.sampler import order
from ftlab.models.execution.features import Features
from ftlab.training.feeds import base
from ftlab.training.feeds.base import Share
from ftlab.training.feeds.images import PictureFeed

_TOGETHER = 1024
"""Pictures whose features are taken from all of them at a time, for several steps."""


class FeatureFeed:
    """Hands out features that were computed once; a picture's view is drawn anew each epoch."""

    def __init__(self, pictures: PictureFeed, features: dict[str, Features]) -> None:
        self.config, self.rank, self.world = pictures.config, pictures.rank, pictures.world
        self.classes = pictures.classes
        self.vectors = {split: found.vectors.to(pictures.device) for split, found in features.items()}
        self.labels = {s: pictures.labels[s][found.indices].to(pictures.device) for s, found in features.items()}

    @cached_property
    def steps(self) -> int:
        """Optimizer steps of an epoch."""
        return len(plan(range(len(self.labels["train"])), self.config.step_size))

    def train(self, epoch: int, skip: int = 0) -> Iterator[Share]:
        """The steps of an epoch from number `skip` on."""
        views, count, _ = self.vectors["train"].shape
        chosen = views_of(self.config.seed, epoch, views, count)
        drawn = order(self.config, self.labels["train"].tolist(), epoch)
        yield from self._shares("train", torch.tensor(drawn), chosen, self.config.step_size, skip)

    def evaluate(self, split: str) -> Iterator[Share]:
        """The pictures of a split in order, each once over all processes."""
        count = len(self.labels[split])
        yield from self._shares(split, torch.arange(count), torch.zeros(count, dtype=torch.int64), 1024)

    def _shares(self, split: str, drawn: Tensor, chosen: Tensor, size: int, skip: int = 0) -> Iterator[Share]:
        """Steps of `size` pictures, from number `skip` on. A picture's second time among those `drawn` shows the view
        after the one `chosen` for it. Found for all at once: a card is waited for but here."""
        vectors, labels = self.vectors[split], self.labels[split]
        pieces = plan(range(len(drawn)), size)
        mine = base.parts(pieces, self.rank, self.world)
        where = torch.tensor([place for own in mine for place in own], dtype=torch.int64)
        counts = [float(self.rank < len(piece)) for piece, own in zip(pieces, mine, strict=True) for _ in own]
        weight = torch.tensor(counts, device=vectors.device)
        rows = drawn[where] % len(labels)
        views = (chosen[rows] + drawn[where] // len(labels)) % len(vectors)
        rows, views = rows.to(vectors.device), views.to(vectors.device)
        together, done = max(1, _TOGETHER // size), 0
        # By a step's own number, wherever the epoch is entered: the last bits of a product depend on where in memory
        # its factors lie.
        for first in range(0, len(mine), together):
            some = slice(first, first + together)
            sizes = [len(own) for own in mine[some]]
            part = slice(done, done + sum(sizes))
            done = part.stop
            if some.stop <= skip:
                continue
            which = rows[part]
            # The same as with one view; one index is found three times as fast as two.
            found = vectors[0].index_select(0, which) if len(vectors) == 1 else vectors[views[part], which]
            parts = zip(*(one.split(sizes) for one in (found, labels[which], weight[part])), pieces[some], strict=True)
            for inputs, truth, own, piece in islice(parts, max(0, skip - first), None):
                yield Share(inputs, truth, own, len(piece), [])
