"""Weights, preprocessing and network of a training, as its run records them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator

import torch
from accelerate import Accelerator
from torch import nn

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.config.fields import format_flag
from ftlab.config.train_config import TrainConfig
from ftlab.core.errors import ConfigError, DataError
from ftlab.core.machine import count_cpu_cores
from ftlab.data import channel_stats
from ftlab.data.channel_stats import ChannelStats
from ftlab.data.dataset import class_names, deep_images
from ftlab.data.dataset.catalog import Catalog
from ftlab.data.images.decode_options import DEFAULT_MIN_SIDE_PIXELS, ValueRanges
from ftlab.data.transforms import preprocess
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.models import freezing, network, stored_backbone
from ftlab.models.heads import HeadSpec
from ftlab.models.network import Network
from ftlab.models.pretrained import imagenet_classes, weights
from ftlab.models.stored_backbone import StoredBackbone
from ftlab.runs import events
from ftlab.runs.directory import Run
from ftlab.runs.events import Event, LogMessage, Progress
from ftlab.training.devices import distributed


def download_weights(
    config: TrainConfig, accelerator: Accelerator, should_stop: Callable[[], bool]
) -> Generator[Event, None, bool]:
    """Download the pretrained weights that are not in the cache, by one rank of each machine.

    A download that fails raises a `WeightsError`.

    Args:
        config: names the backbone.
        accelerator: the ranks.
        should_stop: asked after each block of the download.

    Yields:
        A note and progress in bytes.

    Returns:
        Whether to go on; False if `should_stop` returned True on any rank.
    """
    spec, stopped = backbones.get_backbone_spec(config.backbone), False
    # The ranks of a machine share its cache of weights; the others wait in `any_rank` below.
    if accelerator.is_local_main_process:
        for index, (done_bytes, total_bytes) in enumerate(weights.download_weights(spec)):
            if not index:
                yield LogMessage(code="download", values={"title": spec.title, "megabytes": round(total_bytes / 1e6)})
            yield Progress(stage="download", done=done_bytes, total=total_bytes)
            if stopped := should_stop():
                break
    return not any(distributed.any_rank(accelerator, [stopped]))


def resolve_preprocessing(
    config: TrainConfig, run: Run, catalog: Catalog, accelerator: Accelerator, should_stop: Callable[[], bool]
) -> Generator[Event, None, Preprocessing | None]:
    """Resolve how images are resized and normalized, and write it to `config.json`; a resumed run keeps what it has.

    Args:
        config: the resolved configuration.
        run: the run directory.
        catalog: its training images give mean and standard deviation if `normalization` is `estimated`.
        accelerator: the ranks.
        should_stop: asked while statistics are computed.

    Yields:
        Progress, and a note with the statistics.

    Returns:
        The preprocessing; None if `should_stop` returned True on the way.
    """
    recorded = run.read_config_file()
    # Estimated statistics would change with the images; a resumed run needs the same ones.
    if "preprocessing" in recorded:
        return preprocess.from_json(recorded["preprocessing"])
    prep = preprocess.from_config(backbones.get_backbone_spec(config.backbone), config, catalog.value_ranges)
    for code, values in deep_images.describe_ranges(prep.value_ranges or ValueRanges(), catalog.value_ranges):
        yield LogMessage(code=code, values=values)
    if config.normalization == "estimated":
        statistics = yield from _estimate_statistics(config, catalog, prep, accelerator, should_stop)
        if statistics is None:
            return None
        prep = dataclasses.replace(prep, mean=statistics.mean, std=statistics.std)
        yield LogMessage(code="statistics", values=statistics.format_values())
    if accelerator.is_main_process:
        run.write_json("config.json", {**run.read_config_file(), "preprocessing": prep.to_json()})
        if resolved_range := deep_images.format_setting(prep.value_ranges or ValueRanges()):
            run.update_resolved_config(value_range=resolved_range)
    return prep


def _estimate_statistics(
    config: TrainConfig,
    catalog: Catalog,
    prep: Preprocessing,
    accelerator: Accelerator,
    should_stop: Callable[[], bool],
) -> Generator[Event, None, ChannelStats | None]:
    """Compute mean and standard deviation of the training images' channels on rank 0 and broadcast them.

    Args:
        config: number of threads.
        catalog: the images by split.
        prep: how images are decoded.
        accelerator: the ranks.
        should_stop: asked while statistics are computed.

    Yields:
        Progress.

    Returns:
        The statistics; None if `should_stop` returned True on the way.

    Raises:
        DataError: no training image can be read.
    """
    # One rank reads the images: the others would compute the same numbers.
    statistics: ChannelStats | None = None
    if accelerator.is_main_process:
        last_report_time = time.monotonic()
        for result in channel_stats.compute_channel_stats(
            catalog, config.num_workers or count_cpu_cores(), prep.decode_options.with_min_side(DEFAULT_MIN_SIDE_PIXELS)
        ):
            if isinstance(result, ChannelStats):
                statistics = result
            elif should_stop():
                break
            elif time.monotonic() - last_report_time > events.PROGRESS_INTERVAL_SECONDS:
                last_report_time = time.monotonic()
                yield Progress(stage="statistics", done=result.done, total=result.total)
    statistics = distributed.broadcast_object(accelerator, statistics)
    if statistics is not None and not statistics.count:
        raise DataError("data.gone", folder=catalog.root)
    return statistics


def build_network(
    config: TrainConfig,
    run: Run,
    catalog: Catalog,
    prep: Preprocessing,
    accelerator: Accelerator,
    *,
    pretrained: bool,
    epoch: int,
) -> Network:
    """Build the network on its device, frozen as in an epoch, and describe it in `model.json` for the predictor.

    A backbone without the layer that is named, or that takes no images of this size, raises a `ConfigError` too;
    weights that cannot be loaded raise a `WeightsError`.

    Args:
        config: the resolved configuration.
        run: the run directory.
        catalog: its classes give the size of the head.
        prep: the image size.
        accelerator: the device.
        pretrained: load pretrained weights into the backbone.
        epoch: the epoch to start with; 0 is frozen as 1.

    Returns:
        The network, in channels-last format if it is convolutional.

    Raises:
        ConfigError: the head has one logit, and there are not two classes.
    """
    spec, head_spec = backbones.get_backbone_spec(config.backbone), HeadSpec.from_config(config)
    if head_spec.kind == "logit" and len(catalog.classes) != 2:
        raise ConfigError("config.logit", name=format_flag("head_kind"), count=len(catalog.classes))
    # The head's rows of matching classes are copied from the pretrained classifier.
    class_matches = (
        imagenet_classes.match_imagenet_classes(catalog.classes)
        if pretrained and config.head_init == "imagenet"
        else None
    )
    is_alone = accelerator.num_processes == 1
    net = stored_backbone.load_network(config, catalog) if pretrained and is_alone else None
    if net is None:
        net = network.build_network(
            spec,
            len(catalog.classes),
            pretrained=pretrained,
            seed=config.init_seed,
            head_spec=head_spec,
            source_indices=class_matches,
        )
        if prep.side != spec.side:
            _check_image_size(net, spec, prep.side)
    freezing.freeze_for_epoch(net, config, max(1, epoch))
    # A resumed run keeps the file: its best weights carry the file's hash.
    if accelerator.is_main_process and not (run.path / "model.json").exists():
        _write_model_info(run, catalog, prep, spec, head_spec)
    # Convolutions are faster in channels-last format on the CPU and on tensor cores; other layers gain nothing.
    memory_format = torch.channels_last if spec.convolutional else torch.contiguous_format
    return net.to(accelerator.device).to(memory_format=memory_format)


def restore_backbone(module: nn.Module, config: TrainConfig, accelerator: Accelerator) -> nn.Module:
    """Build a backbone of which there are the tensors only, as some of its features turned out to be missing.

    Args:
        module: a frozen backbone, or a part of one.
        config: the resolved configuration.
        accelerator: the device.

    Returns:
        The built backbone, frozen; `module` itself if it computes.
    """
    if not isinstance(module, StoredBackbone):
        return module
    spec = backbones.get_backbone_spec(config.backbone)
    backbone = network.build_network(spec, 1, pretrained=True, seed=config.init_seed).backbone.requires_grad_(False)
    memory_format = torch.channels_last if spec.convolutional else torch.contiguous_format
    return backbone.to(accelerator.device).to(memory_format=memory_format)


def _write_model_info(run: Run, catalog: Catalog, prep: Preprocessing, spec: BackboneSpec, head_spec: HeadSpec) -> None:
    """Write `model.json`, all that a predictor needs besides the weights.

    Args:
        run: the run directory.
        catalog: its classes, and names of them for people.
        prep: the preprocessing of images.
        spec: the backbone.
        head_spec: the head.
    """
    model_info = {"backbone": spec.name, "row": spec.to_json(), "classes": list(catalog.classes)}
    display_names = class_names.select_display_names(
        class_names.find_display_names(catalog.root, catalog.classes), catalog.classes
    )
    run.write_json(
        "model.json",
        {**model_info, "head": head_spec.to_json(), "names": display_names, "preprocessing": prep.to_json()},
    )


def _check_image_size(net: Network, spec: BackboneSpec, image_size: int) -> None:
    """Check with a forward pass that a network takes images of a size other than its own.

    Some do not: transformers with a fixed number of position embeddings, and networks whose pooling leaves nothing of
    a small image.

    Args:
        net: the network, on the CPU.
        spec: its backbone.
        image_size: side of the images in pixels.

    Raises:
        ConfigError: the forward pass fails.
    """
    # In evaluation mode: BatchNorm cannot train on one image, and its statistics must not change.
    net.eval()
    try:
        with torch.inference_mode():
            net(torch.zeros(1, 3, image_size, image_size))
    # Each library refuses an image size in its own way.
    except (AssertionError, ValueError, RuntimeError) as cause:
        error_lines = str(cause).strip().splitlines() or [type(cause).__name__]
        raise ConfigError(
            "config.side", title=spec.title, side=image_size, native=spec.side, cause=error_lines[0]
        ) from cause
    finally:
        net.train()
