"""The commands `statistics` (channel statistics of a data set) and `preview` (augmented images)."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.cli.parsing.config_flags import build_config
from ftlab.cli.terminal.output import open_progress_bar, print_json, print_table
from ftlab.config import backbones
from ftlab.config.train_config import SPLIT_FIELDS, TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from ftlab.data.dataset.catalog import Catalog


def statistics(options: Namespace) -> None:
    """Print mean and standard deviation of the color channels of the training images.

    Raises:
        DataError: no image could be read.
    """
    from ftlab.core.machine import count_cpu_cores
    from ftlab.data.channel_stats import ChannelStats, compute_channel_stats
    from ftlab.data.sources import archive

    split_settings = {name: getattr(options, name) for name in SPLIT_FIELDS}
    catalog = _scan_images(TrainConfig(data=options.folder, **split_settings))
    with open_progress_bar("console.statistics") as progress:
        for event in compute_channel_stats(catalog, count_cpu_cores()):
            if isinstance(event, ChannelStats):
                channel_stats = event
            else:
                progress(event.done, event.total)
    if not channel_stats.count:
        raise DataError("data.gone", folder=catalog.root)
    if options.json:
        print_json(asdict(channel_stats))
        return
    print(
        messages.get_text(
            "cli.statistics_of",
            images=channel_stats.count,
            folder=messages.escape_control_chars(archive.describe_path(catalog.root)),
        )
    )
    names = (messages.get_text(f"cli.channel.{name}") for name in ("red", "green", "blue"))
    rows = [
        [name, f"{mean:.4f}", f"{std:.4f}"]
        for name, mean, std in zip(names, channel_stats.mean, channel_stats.std, strict=True)
    ]
    print_table(["channel", "mean", "std"], rows)


def preview(options: Namespace) -> None:
    """Plot a training image: its evaluation crop, and the augmented image of the first nine epochs.

    Raises:
        ConfigError: no data set is named, or it has no image of that number.
    """
    from ftlab.reporting import figure_files, plots

    config = build_config(options)
    if not (config.data or config.sample):
        raise ConfigError("config.no_source")
    # Both raise before the data set is scanned.
    backbones.get_backbone_spec(config.backbone)
    figure_files.check_figure_path(Path(options.out))
    catalog = _scan_images(config)
    count = len(catalog.splits["train"])
    if not 1 <= options.picture <= count:
        raise ConfigError("config.bounds", name="--picture", value=options.picture, low=1, high=count)
    from ftlab.data.preview import make_preview

    image_preview = make_preview(catalog, config, options.picture - 1)
    class_name = catalog.classes[image_preview.item.label]
    figure_files.save_figure(
        plots.plot_augmentations(
            image_preview.eval_image, image_preview.epoch_images, f"{class_name} · {image_preview.item.path}"
        ),
        Path(options.out),
    )
    summary = {
        "file": str(catalog.image_path(image_preview.item)),
        "class": class_name,
        "views": image_preview.view_count,
        "out": options.out,
    }
    if options.json:
        print_json(summary)
    else:
        key = "cli.previewed_views" if image_preview.view_count else "cli.previewed"
        print(messages.get_text(key, **{**summary, "name": class_name}))
        if image_preview.last_cached_epoch:
            print(messages.get_text("preview.later_fresh", epoch=image_preview.last_cached_epoch + 1))


def _scan_images(config: TrainConfig) -> Catalog:
    """Return the catalog of a configuration's data set, split as in a training."""
    from ftlab.data.dataset import exclusions
    from ftlab.data.dataset.scan import scan
    from ftlab.data.samples import sample_sets

    if config.sample:
        with open_progress_bar("console.drawing") as progress:
            folder: Path | str = sample_sets.ensure_sample_set(config.sample, progress=progress)
    else:
        folder = config.data
    with open_progress_bar("console.checking") as progress:
        return scan(
            folder, **config.split_settings, exclude=exclusions.read_exclusions(config.exclude), progress=progress
        )
