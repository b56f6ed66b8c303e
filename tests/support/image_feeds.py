"""Feeds of one rank without a network: what each process gets of a step."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace
from typing import Any

import torch

from ftlab.config.train_config import TrainConfig
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.loading.prefetch import Prefetcher
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.training.feeds.base import RankBatch
from ftlab.training.feeds.gpu_images import create_image_feed
from ftlab.training.feeds.image_base import ImageFeedBase

PREP = Preprocessing(36, 32, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def feed(
    pictures: Catalog, rank: int = 0, world: int = 1, early: Prefetcher | None = None, **settings: Any
) -> ImageFeedBase:
    config = TrainConfig(**{"batch_size": 4, "augment": "flip", "num_workers": 2, **settings})
    process: Any = SimpleNamespace(process_index=rank, num_processes=world, device=torch.device("cpu"))
    return create_image_feed(pictures, PREP, config, process, prefetched=early)


def steps(pictures: ImageFeedBase, epoch: int, skip: int = 0) -> list[RankBatch]:
    """Those of an epoch."""
    with closing(pictures):
        return list(pictures.iter_train_batches(epoch, skip))


def counted(shares: list[RankBatch]) -> int:
    return int(sum(share.sample_weights.sum() for share in shares))
