"""What the commands about pixels do: the colour statistics of a folder, and what a training makes of a picture."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.cli.common.config_flags import given
from ftlab.cli.terminal.output import as_json, bar, table
from ftlab.config import backbones
from ftlab.config.train_config import DEALING, TrainConfig
from ftlab.core import messages
from ftlab.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from ftlab.data.dataset.catalog import Catalog


def statistics(options: Namespace) -> None:
    """Mean and standard deviation of the colours of a folder's training pictures."""
    from ftlab.core.machine import cores
    from ftlab.data.channel_stats import Statistics, compute

    shares = {name: getattr(options, name) for name in DEALING}
    pictures = _scanned(TrainConfig(data=options.folder, **shares))
    with bar("console.statistics") as progress:
        for part in compute(pictures, cores()):
            if isinstance(part, Statistics):
                found = part
            else:
                progress(part.done, part.total)
    if not found.count:
        raise DataError("data.gone", folder=pictures.root)
    if options.json:
        as_json(asdict(found))
        return
    print(messages.text("cli.statistics_of", images=found.count, folder=messages.one_line(pictures.root)))
    names = (messages.text(f"cli.channel.{name}") for name in ("red", "green", "blue"))
    rows = [[name, f"{mean:.4f}", f"{std:.4f}"] for name, mean, std in zip(names, found.mean, found.std, strict=True)]
    table(["channel", "mean", "std"], rows)


def preview(options: Namespace) -> None:
    """A figure of a training picture: the evaluation crop, and the picture as the first nine epochs see it."""
    from ftlab.reporting import plots

    settings = given(options)
    if not (settings.data or settings.sample):
        raise ConfigError("config.no_source")
    backbones.get(settings.backbone)
    plots.check(Path(options.out))
    pictures = _scanned(settings)
    count = len(pictures.splits["train"])
    if not 1 <= options.picture <= count:
        raise ConfigError("config.bounds", name="--picture", value=options.picture, low=1, high=count)
    from ftlab.data.preview import preview as make

    made = make(pictures, settings, options.picture - 1)
    name = pictures.classes[made.item.label]
    plots.save(plots.preview_figure(made.evaluation, made.variants, f"{name} · {made.item.path}"), Path(options.out))
    facts = {"file": str(pictures.path(made.item)), "class": name, "views": made.views, "out": options.out}
    if options.json:
        as_json(facts)
    else:
        key = "cli.previewed_views" if made.views else "cli.previewed"
        print(messages.text(key, **{**facts, "name": name}))


def _scanned(settings: TrainConfig) -> Catalog:
    """The pictures as a training with that configuration deals them."""
    from ftlab.data.dataset import exclusions
    from ftlab.data.dataset.catalog import scan
    from ftlab.data.samples import sample_sets

    if settings.sample:
        with bar("console.drawing") as progress:
            folder: Path | str = sample_sets.ensure(settings.sample, progress=progress)
    else:
        folder = settings.data
    with bar("console.checking") as progress:
        return scan(folder, **settings.dealing, exclude=exclusions.read(settings.exclude), progress=progress)
