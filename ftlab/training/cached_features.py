"""The features of a frozen backbone, computed once for a run: by which engine, what of them was kept from before."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from importlib.metadata import version

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

import ftlab
from ftlab.config import backbones
from ftlab.core.errors import DataError, ImageError
from ftlab.data.transforms import preprocess
from ftlab.models.execution import engines, feature_cache, features
from ftlab.models.execution.engines import Engine
from ftlab.models.execution.feature_cache import FeatureCache
from ftlab.models.execution.features import Features
from ftlab.models.network import Network
from ftlab.runs.directory import Run
from ftlab.runs.events import Event, LogMessage, Progress
from ftlab.training import setup
from ftlab.training.checkpoints import resume_checks
from ftlab.training.devices import device_setup
from ftlab.training.feeds.images import ImageFeed

_EXCHANGE_BATCH_IMAGES = 2048
"""Pictures whose features processes exchange at a time."""


def compute_cached_features(
    net: Network,
    image_feed: ImageFeed,
    run: Run,
    accelerator: Accelerator,
    should_stop: Callable[[], bool],
    use_cache: bool,
) -> Iterator[Event | dict[str, Features]]:
    """Progress, then the features of training and validation pictures; ends without them when `should_stop` says so.

    Args:
        use_cache: whether what was computed before is used, and kept for later.

    Raises:
        DataError: no picture can be read any more.
    """
    features_by_split: dict[str, Features] = {}
    config = image_feed.config
    if image_feed.prefetched and not image_feed.makes_views_on_gpu:
        image_feed.prefetched.cancel_pending()
    image_counts = {split: len(image_feed.catalog.splits[split]) for split in ("train", "val")}
    view_counts = {"train": config.views_per_image, "val": 1}
    backbone_passes = sum(image_counts[split] * view_counts[split] for split in image_counts)
    store = feature_cache.open_feature_cache() if use_cache and accelerator.num_processes == 1 else None
    spec = backbones.get_backbone_spec(config.backbone)
    expected_engine = engines.expected_engine(
        spec, accelerator.device, view_count=backbone_passes, engine_name=config.engine
    )
    key_base = _compute_key_base(net, image_feed, expected_engine) if store else ""
    if store and store.file.exists():
        stored_features = yield from _load_stored_features(image_feed, store, key_base, view_counts, should_stop)
        if stored_features:
            if config.engine != expected_engine:
                run.update_resolved_config(engine=expected_engine)
            yield LogMessage(
                code="features_kept", values={"kept": sum(image_counts.values()), "images": sum(image_counts.values())}
            )
            yield stored_features
        if stored_features or should_stop():
            return
    engine = _choose_engine(net, image_feed, run, accelerator, backbone_passes)
    if store and engine.name != expected_engine:
        key_base = _compute_key_base(net, image_feed, engine.name)
    feature_progress = _FeatureProgress(sum(image_counts.values()))
    for split, image_count in image_counts.items():
        results = features.compute_features(
            engine,
            image_count,
            view_counts[split],
            partial(image_feed.read_views, split, view_count=view_counts[split]),
            accelerator.device,
            image_feed.workers,
            store,
            lambda index, split=split: image_feed.get_feature_keys(split, index, view_counts[split], key_base),  # type: ignore[misc]
            read_batches=partial(image_feed.iter_view_batches, split, view_count=view_counts[split])
            if image_feed.makes_views_on_gpu
            else None,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
        )
        for result in results:
            if isinstance(result, Features):
                result = join_rank_features(result, image_count, accelerator)
                # All at once is no matter of single files.
                if not result.indices or (result.skipped and resume_checks.is_data_gone(image_feed.catalog)):
                    raise DataError("data.gone", folder=image_feed.catalog.root)
                features_by_split[split] = result
                yield from setup.report_skipped_images(
                    image_feed.exclude_images(split, result.skipped), image_feed.catalog, split
                )
            elif should_stop():
                return
            else:
                yield from feature_progress.report_progress(min(image_count, result * accelerator.num_processes))
        feature_progress.finished_images += image_count
    seconds = time.monotonic() - feature_progress.start_time
    cached_count = sum(split_features.cached_count for split_features in features_by_split.values())
    if cached_count:
        yield LogMessage(code="features_kept", values={"kept": cached_count, "images": feature_progress.total_images})
    if computed_count := feature_progress.total_images - cached_count:
        yield LogMessage(
            code="features",
            values={"images": computed_count, "seconds": round(seconds, 1), "rate": round(computed_count / seconds)},
        )
    yield features_by_split


def _choose_engine(
    net: Network, image_feed: ImageFeed, run: Run, accelerator: Accelerator, backbone_passes: int
) -> Engine:
    """What runs the frozen backbone: as the run began, else what the first process finds to be the fastest; noted in
    the run."""
    config, prep = image_feed.config, image_feed.prep

    def create_engine(engine_name: str) -> Engine:
        spec = backbones.get_backbone_spec(config.backbone)
        engine_args = (
            net.backbone,
            spec,
            lambda pixels: preprocess.normalize_batch(pixels, prep),
            prep.side,
            accelerator.device,
        )
        return engines.choose_engine(*engine_args, view_count=backbone_passes, engine_name=engine_name)

    main_engine = create_engine(config.engine) if accelerator.is_main_process else None
    name = device_setup.broadcast_object(accelerator, main_engine.name if main_engine else "")
    if main_engine and config.engine != name:
        run.update_resolved_config(engine=name)
    return main_engine or create_engine(name)


def join_rank_features(local_features: Features, image_count: int, accelerator: Accelerator) -> Features:
    """The features of all N = `image_count` pictures, of which each process has looked at some: to the bit as if one had
    looked at all, but for the sign of zero."""
    if accelerator.num_processes == 1:
        return local_features
    local_summary = (
        local_features.vectors.shape[2],
        local_features.indices,
        [(index, error.code, dict(error.values)) for index, error in local_features.skipped],
    )
    rank_summaries = gather_object([local_summary])
    feature_dim = max(rank_value for rank_value, _, _ in rank_summaries)
    indices = sorted(index for _, rank_value, _ in rank_summaries for index in rank_value)
    skipped_images = sorted(
        (entry for _, _, rank_value in rank_summaries for entry in rank_value), key=lambda entry: entry[0]
    )
    vectors = torch.zeros(len(local_features.vectors), image_count, feature_dim)
    if local_features.indices:
        vectors[:, local_features.indices] = local_features.vectors
    for start in range(0, image_count, _EXCHANGE_BATCH_IMAGES):  # each row is some process's, and 0 in all others
        rows = vectors[:, start : start + _EXCHANGE_BATCH_IMAGES].contiguous().to(accelerator.device)
        vectors[:, start : start + _EXCHANGE_BATCH_IMAGES] = device_setup.all_reduce_sum(accelerator, rows).cpu()
    failures = [(index, ImageError(code, **values)) for index, code, values in skipped_images]
    return Features(vectors if len(indices) == image_count else vectors[:, indices], indices, failures)


def _load_stored_features(
    image_feed: ImageFeed,
    store: FeatureCache,
    key_base: str,
    view_counts: dict[str, int],
    should_stop: Callable[[], bool],
) -> Generator[Event, None, dict[str, Features] | None]:
    """Progress; the generator's value: the features of all pictures, if all were kept from the engine that is to be
    expected, for none is made then, which takes a second. None too when `should_stop` said so."""
    features_by_split: dict[str, Features] = {}
    image_counts = {split: len(image_feed.catalog.splits[split]) for split in view_counts}
    feature_progress = _FeatureProgress(sum(image_counts.values()))
    for split, view_count in view_counts.items():

        def get_keys(index: int, split: str = split, view_count: int = view_count) -> list[bytes] | None:
            return image_feed.get_feature_keys(split, index, view_count, key_base)

        for result in features.load_cached_features(
            store, get_keys, image_counts[split], view_count, image_feed.workers
        ):
            if isinstance(result, Features):
                features_by_split[split] = result
            elif should_stop():
                return None
            else:
                yield from feature_progress.report_progress(result)
        if split not in features_by_split:
            return None
        feature_progress.finished_images += image_counts[split]
    return features_by_split


class _FeatureProgress:
    """How far the work on all pictures is, told as often as a person reads it.

    Attributes:
        total_images: pictures.
        finished_images: of them in the splits that are done.
        start_time: when, on the monotonic clock.
    """

    def __init__(self, total_images: int) -> None:
        self.total_images, self.finished_images = total_images, 0
        self.start_time = self._last_report_time = time.monotonic()

    def report_progress(self, done_images: int) -> Iterator[Progress]:
        """`done_images` pictures of the split at work."""
        now, done_images = time.monotonic(), self.finished_images + done_images
        if now - self._last_report_time > setup.PROGRESS_INTERVAL_SECONDS:
            self._last_report_time = now
            yield Progress(
                stage="features",
                done=done_images,
                total=self.total_images,
                images_per_second=done_images / (now - self.start_time),
            )


def _compute_key_base(net: Network, image_feed: ImageFeed, engine_name: str) -> str:
    """What all features of a training depend on, in a few letters: weights, preparation, and the programs at work."""
    programs = [ftlab.__version__, engine_name, *(version(package) for package in (engine_name, "torch", "pillow"))]
    key_facts = [engines.hash_parameters(net.backbone), image_feed.prep.to_json(), programs, image_feed.device.type]
    return hashlib.sha256(json.dumps(key_facts).encode()).hexdigest()
