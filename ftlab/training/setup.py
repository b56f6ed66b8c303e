"""What a training needs before its first step: pictures, device, network, batches; and what the run keeps of that."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch
from accelerate import Accelerator

from ftlab.config import backbones
from ftlab.config.backbones import BackboneSpec
from ftlab.config.fields import format_flag
from ftlab.config.train_config import TrainConfig, fill_defaults
from ftlab.core.errors import ConfigError, DataError, ImageError, RunError
from ftlab.core.machine import count_cpu_cores
from ftlab.data import channel_stats
from ftlab.data.channel_stats import ChannelStats
from ftlab.data.dataset import class_names, from_config
from ftlab.data.dataset.catalog import Catalog, catalog_from_json
from ftlab.data.gpu import gpu_augment
from ftlab.data.loading import image_cache
from ftlab.data.transforms import augment, preprocess
from ftlab.data.transforms.preprocess import Preprocessing
from ftlab.models import freezing, network
from ftlab.models.heads import HeadSpec
from ftlab.models.network import Network
from ftlab.models.pretrained import imagenet_classes, weights
from ftlab.runs.directory import Run
from ftlab.runs.events import Event, LogMessage, Progress
from ftlab.training.checkpoints import resume_checks
from ftlab.training.devices import device_setup
from ftlab.training.optim import optimizers

PROGRESS_INTERVAL_SECONDS = 0.5
"""Seconds between two words of how far a work is."""
_LEGACY_DEFAULTS: dict[str, Any] = {"compile": "no", "vary_on": "processor"}
"""What was the only way before there was a knob."""


def restore_runtime(config: TrainConfig, run: Run) -> TrainConfig:
    """The configuration with the device, threads and precision that the run began with: others would give other bits.
    Where the device is not to be had, one that is: `resolve_config` says so."""
    if "resolved" not in run.read_json("config.json"):
        return config
    recorded_config = run.load_resolved_config()
    if recorded_config.device not in ("cpu", device_setup.detect_device()):
        return dataclasses.replace(config, threads=recorded_config.threads, device="auto", precision="auto")
    return dataclasses.replace(
        config, threads=recorded_config.threads, device=recorded_config.device, precision=recorded_config.precision
    )


def resolve_config(config: TrainConfig, run: Run, accelerator: Accelerator) -> tuple[TrainConfig, list[LogMessage]]:
    """The configuration with everything chosen, written to `config.json`; a resumed run keeps what was chosen first.

    Returns:
        It, and what a person should know: whether something is not as it was when the run began.

    Raises:
        ConfigError: the sizes of pictures contradict each other.
    """
    recorded = run.read_json("config.json")
    environment = device_setup.environment_info(accelerator)
    image_cache_mb = image_cache.compute_budget_mb(config, on_gpu=accelerator.device.type != "cpu")
    if "resolved" in recorded:
        differences = resume_checks.describe_differences(recorded, environment)
        # A run of an older version was begun without a word of these, and so as they were then.
        legacy_values = {name: value for name, value in _LEGACY_DEFAULTS.items() if name not in recorded["resolved"]}
        recorded_config = dataclasses.replace(run.load_resolved_config(), **legacy_values)
        # What is free now is another matter than it was then, and no bit depends on it.
        resolved_config = dataclasses.replace(recorded_config, keep_decoded=image_cache_mb)
        return resolved_config, [
            resume_checks.make_warning("not_identical", what="; ".join(differences))
        ] if differences else []
    prep = preprocess.from_config(backbones.get_backbone_spec(config.backbone), config)
    resolved_config = dataclasses.replace(
        fill_defaults(config),
        side=prep.side,
        resize=prep.resize,
        head_seed=config.init_seed,
        crop_side=config.crop_side or prep.side,
        crop_ratio=config.crop_ratio or augment.DEFAULT_CROP_RATIO,
        device=accelerator.device.type,
        precision={"no": "fp32"}.get(accelerator.mixed_precision, accelerator.mixed_precision),
        fused=optimizers.resolve_fused(config, accelerator.device),
        keep_decoded=image_cache_mb,
        vary_on=gpu_augment.augment_device(config, accelerator.device),
        workers=config.workers or count_cpu_cores(),
        threads=torch.get_num_threads(),
    )
    if accelerator.is_main_process:
        run.write_json("config.json", {**recorded, "resolved": resolved_config.to_json(), **environment})
    return resolved_config, []


def load_catalog(config: TrainConfig, run: Run, accelerator: Accelerator, catalog: Catalog | None = None) -> Catalog:
    """The pictures and their split: as `split.json` has them, else from the folder or the sample set.

    Args:
        catalog: as the folder was found to be just now.

    Raises:
        ConfigError: neither a folder nor a sample set is named.
        DataError: the folder cannot be used.
        RunError: `split.json` is not what the run began with.
    """
    if (run.path / "split.json").is_file():
        recorded_catalog = catalog_from_json(run.read_json("split.json"))
        if recorded_catalog.compute_fingerprint() != run.read_json("config.json").get(
            "manifest", recorded_catalog.compute_fingerprint()
        ):
            raise RunError("run.split", run=run.name)
        return recorded_catalog
    if catalog is None:
        heartbeat = run.create_heartbeat()
        catalog = from_config.resolve_dataset(config, lambda done_count, total: heartbeat.beat())
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        run.write_json("split.json", catalog.to_json())
        skipped = [problem.file for problem in catalog.problems]
        run.write_json(
            "config.json",
            {**run.read_json("config.json"), "manifest": catalog.compute_fingerprint(), "skipped": skipped},
        )
    return catalog


def report_validation_split(catalog: Catalog) -> Iterator[LogMessage]:
    """What a person should know of the split."""
    if catalog.layout == "test_as_val":
        yield resume_checks.make_warning("test_as_val", count=len(catalog.splits["val"]))


def download_weights(
    config: TrainConfig, accelerator: Accelerator, should_stop: Callable[[], bool]
) -> Generator[Event, None, bool]:
    """Fetch the pretrained weights that are not here yet, by one process of each machine. The generator's value:
    whether to go on; no when `should_stop` said so on the way.

    Raises:
        WeightsError: they are not to be had.
    """
    spec, stopped = backbones.get_backbone_spec(config.backbone), False
    if accelerator.is_local_main_process:
        for index, (done_bytes, total_bytes) in enumerate(weights.download_weights(spec)):
            if not index:
                yield LogMessage(code="download", values={"title": spec.title, "megabytes": round(total_bytes / 1e6)})
            yield Progress(stage="download", done=done_bytes, total=total_bytes)
            if stopped := should_stop():
                break
    return not any(device_setup.any_rank(accelerator, [stopped]))


def resolve_preprocessing(
    config: TrainConfig, run: Run, catalog: Catalog, accelerator: Accelerator, should_stop: Callable[[], bool]
) -> Generator[Event, None, Preprocessing | None]:
    """How the pictures are prepared: as the run began, else as the configuration says, with statistics of the training
    pictures where it wants them. The generator's value; None when `should_stop` said so on the way.

    Raises:
        DataError: no training picture can be read.
    """
    recorded = run.read_json("config.json")
    if "preprocessing" in recorded:
        return preprocess.from_json(recorded["preprocessing"])
    prep = preprocess.from_config(backbones.get_backbone_spec(config.backbone), config)
    if config.normalise == "estimated":
        statistics = yield from _estimate_statistics(config, catalog, accelerator, should_stop)
        if statistics is None:
            return None
        prep = dataclasses.replace(prep, mean=statistics.mean, std=statistics.std)
        yield LogMessage(code="statistics", values=statistics.format_values())
    if accelerator.is_main_process:
        run.write_json("config.json", {**run.read_json("config.json"), "preprocessing": prep.to_json()})
    return prep


def _estimate_statistics(
    config: TrainConfig, catalog: Catalog, accelerator: Accelerator, should_stop: Callable[[], bool]
) -> Generator[Event, None, ChannelStats | None]:
    """The statistics as the first process computes them, told to all; None when `should_stop` said so on the way."""
    statistics: ChannelStats | None = None
    if accelerator.is_main_process:
        last_report_time = time.monotonic()
        for result in channel_stats.compute_channel_stats(catalog, config.workers or count_cpu_cores()):
            if isinstance(result, ChannelStats):
                statistics = result
            elif should_stop():
                break
            elif time.monotonic() - last_report_time > PROGRESS_INTERVAL_SECONDS:
                last_report_time = time.monotonic()
                yield Progress(stage="statistics", done=result.done, total=result.total)
    statistics = device_setup.broadcast_object(accelerator, statistics)
    if statistics is not None and not statistics.count:
        raise DataError("data.gone", folder=catalog.root)
    return statistics


def build_network(
    config: TrainConfig,
    run: Run,
    catalog: Catalog,
    prep: Preprocessing,
    accelerator: Accelerator,
    pretrained: bool,
    epoch: int,
) -> Network:
    """The network on its device, frozen as in that epoch, described in `model.json` for whoever predicts with it.

    Raises:
        ConfigError: the head does not fit the classes, or the backbone has no such layer.
        WeightsError: pretrained weights are neither here nor to be had.
        ConfigError: it takes no pictures of the side that is asked for.
    """
    spec, head_spec = backbones.get_backbone_spec(config.backbone), HeadSpec.from_config(config)
    if head_spec.kind == "logit" and len(catalog.classes) != 2:
        raise ConfigError("config.logit", name=format_flag("head_kind"), count=len(catalog.classes))
    class_matches = (
        imagenet_classes.match_imagenet_classes(catalog.classes)
        if pretrained and config.head_init == "imagenet"
        else None
    )
    start_seed = config.init_seed
    net = network.build_network(
        spec,
        len(catalog.classes),
        pretrained=pretrained,
        seed=start_seed,
        head_spec=head_spec,
        source_indices=class_matches,
    )
    if prep.side != spec.side:
        _check_image_size(net, spec, prep.side)
    freezing.freeze_for_epoch(net, config, max(1, epoch))
    # A resumed run keeps what its best weights are sealed with.
    if accelerator.is_main_process and not (run.path / "model.json").exists():
        model_info = {"backbone": spec.name, "row": spec.to_json(), "classes": list(catalog.classes)}
        display_names = class_names.select_display_names(
            class_names.find_display_names(catalog.root, catalog.classes), catalog.classes
        )
        run.write_json(
            "model.json",
            {**model_info, "head": head_spec.to_json(), "names": display_names, "preprocessing": prep.to_json()},
        )
    memory_format = torch.channels_last if spec.convolutional else torch.contiguous_format
    return net.to(accelerator.device).to(memory_format=memory_format)


def _check_image_size(net: Network, spec: BackboneSpec, image_size: int) -> None:
    """See that the network takes pictures of another side than its own. Some do not: those that have a position for
    each place, and those that make a small picture smaller than nothing."""
    net.eval()
    try:
        with torch.inference_mode():
            net(torch.zeros(1, 3, image_size, image_size))
    except (AssertionError, ValueError, RuntimeError) as cause:
        error_lines = str(cause).strip().splitlines() or [type(cause).__name__]
        raise ConfigError(
            "config.side", title=spec.title, side=image_size, native=spec.side, cause=error_lines[0]
        ) from cause
    finally:
        net.train()


def report_skipped_images(failures: list[tuple[int, ImageError]], catalog: Catalog, split: str) -> Iterator[LogMessage]:
    """A sentence for each picture that could not be read."""
    for index, error in failures:
        yield resume_checks.make_warning("skipped", file=catalog.splits[split][index].path, problem=error.problem)
