"""The command `shard`: write a data set as tar shards in WebDataset's layout."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from ftlab.cli.parsing.setting_flags import add_setting_flag
from ftlab.cli.terminal.output import open_progress_bar, print_json, print_problem
from ftlab.config import train_config
from ftlab.config.train_config import SPLIT_FIELDS, TrainConfig
from ftlab.core import interruption, messages, user_dirs
from ftlab.core.errors import DataError

DEFAULT_IMAGES_PER_SHARD = 1000
DEFAULT_MAX_MEGABYTES = 500
"""Here and not in `data.conversion.shard_writer`, which imports the decoder: `--help` starts at once."""


def add_flags(parser: ArgumentParser) -> None:
    """Add the arguments and flags of the command to its parser."""
    parser.add_argument("folder", metavar="DIR|ZIP|LIST", help=messages.get_text("setting.data.hint"))
    parser.add_argument("out", metavar="OUT", help=messages.get_text("cli.shard_out"))
    images_help = messages.get_text("cli.shard_images", standard=DEFAULT_IMAGES_PER_SHARD)
    parser.add_argument("--images-per-shard", type=int, default=DEFAULT_IMAGES_PER_SHARD, metavar="N", help=images_help)
    max_mb_help = messages.get_text("cli.shard_max_mb", standard=DEFAULT_MAX_MEGABYTES)
    parser.add_argument("--max-mb", type=int, default=DEFAULT_MAX_MEGABYTES, metavar="MB", help=max_mb_help)
    parser.add_argument("--overwrite", action="store_true", help=messages.get_text("cli.shard_overwrite"))
    for name in (*SPLIT_FIELDS, "exclude"):
        add_setting_flag(parser, name, train_config.FIELDS[name][1])


@interruption.end_in_order()
def shard(options: Namespace) -> None:
    """Write the readable images of a data set as shards; what is left out is told on standard error.

    Raises:
        DataError: a limit is below 1, or the shards cannot be written.
    """
    for flag, value in (("--images-per-shard", options.images_per_shard), ("--max-mb", options.max_mb)):
        if value < 1:
            raise DataError("shards.limit", flag=flag, value=value)
    config = TrainConfig(**{name: getattr(options, name) for name in SPLIT_FIELDS}, exclude=options.exclude)
    from ftlab.data.conversion import shard_writer
    from ftlab.data.dataset import exclusions
    from ftlab.data.dataset.scan import scan as scan_dataset

    out = user_dirs.expand_home(options.out)
    shard_writer.check_output(out, overwrite=options.overwrite)  # before the scan, which takes its time
    with open_progress_bar("console.checking") as progress:
        catalog = scan_dataset(
            options.folder,
            **config.split_settings,
            exclude=exclusions.read_exclusions(config.exclude),
            progress=progress,
        )
    problems = list(catalog.problems)
    with open_progress_bar("cli.sharding") as progress:
        index = shard_writer.write_shards(
            catalog,
            out,
            limits=shard_writer.ShardLimits(options.images_per_shard, options.max_mb * 1_000_000),
            seed=config.seed,
            overwrite=options.overwrite,
            on_problem=problems.append,
            progress=progress,
        )
    for problem in problems:
        print_problem(problem.location, problem, sys.stderr)
    if options.json:
        print_json({"out": str(out), **index.to_json(), "problems": [problem.to_json() for problem in problems]})
        return
    entries = [entry for entries in index.shards.values() for entry in entries]
    print(
        messages.get_text(
            "cli.sharded",
            out=messages.escape_control_chars(out),
            samples=f"{sum(entry.samples for entry in entries):,}",
            classes=len(index.classes),
            shards=len(entries),
            size=messages.format_bytes(sum(entry.bytes for entry in entries)),
        )
    )
