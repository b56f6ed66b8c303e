"""Command line: everything that the page can do.

Results go to standard output (with `--json`: as JSON), progress to standard error. The exit status is 0; 2 for a user's
error, reported in one line; 130 after Ctrl+C; 1 for a bug, with its traceback. A command imports what it needs when it
runs, so that `--help` and `runs` answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

from ftlab import __version__
from ftlab.cli.commands import backbones as backbones_command
from ftlab.cli.commands import compare as compare_command
from ftlab.cli.commands import evaluate as evaluate_command
from ftlab.cli.commands import explain as explain_command
from ftlab.cli.commands import export as export_command
from ftlab.cli.commands import fetch as fetch_command
from ftlab.cli.commands import predict as predict_command
from ftlab.cli.commands import preview as preview_command
from ftlab.cli.commands import queue as queue_command
from ftlab.cli.commands import recipes, runs
from ftlab.cli.commands import scan as scan_command
from ftlab.cli.commands import shard as shard_command
from ftlab.cli.commands import train as train_command
from ftlab.cli.parsing import queue_flags
from ftlab.cli.parsing.command_parser import CommandParser
from ftlab.cli.parsing.setting_flags import add_setting_flag, add_setting_groups
from ftlab.config import train_config
from ftlab.core import interruption, messages
from ftlab.core.errors import FtlabError
from ftlab.inference.cam_options import CAM_METHODS
from ftlab.runs import run_notes, run_table
from ftlab.runs.jobs.warm_worker import SPARE_COMMAND

PAGE_COMMANDS = ("app", "ui")
"""Names of the command that opens the page; without any command it is opened too."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; without a command, open the page.

    Args:
        argv: the arguments; None for those of this process.

    Returns:
        0, 2 for a user's error, or 130 after Ctrl+C; see the module.
    """
    if argv is None:
        argv = sys.argv[1:]
    if not argv or argv[0] in PAGE_COMMANDS:  # the page has a parser of its own, which imports gradio
        from ftlab.ui.serve import serve

        return serve(list(argv[1:]), program=f"ftlab {PAGE_COMMANDS[0]}")
    if argv[:1] == [SPARE_COMMAND]:
        from ftlab.cli.common import spare_process

        argv = spare_process.await_command()
    options = build_parser().parse_args(argv)
    try:
        status = int(options.command(options) or 0)
        sys.stdout.flush()  # here, so that a closed pipe is noticed within the try
        return status
    except FtlabError as error:
        print(f"ftlab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        interruption.announce_interrupt()
        return interruption.INTERRUPTED_STATUS
    except BrokenPipeError:  # the reader (`| head`) is done; Python flushes once more at exit, which must not fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if TYPE_CHECKING:
    _Subparsers: TypeAlias = argparse._SubParsersAction[CommandParser]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; the flags of settings derive from the fields of the configuration."""
    root_parser = CommandParser(prog="ftlab", description=messages.get_text("cli.about"))
    root_parser.add_argument("--version", action="version", version=__version__)
    # Each command's parser gets the class of the root parser, and with it `error`.
    subparsers = root_parser.add_subparsers(metavar="COMMAND", required=True)
    # In the order of `--help`.
    _add_scan_command(subparsers)
    _add_train_command(subparsers)
    _add_queue_command(subparsers)
    _add_recipes_command(subparsers)
    _add_run_commands(subparsers)
    _add_evaluate_command(subparsers)
    _add_predict_command(subparsers)
    _add_explain_command(subparsers)
    _add_export_command(subparsers)
    _add_comparison_commands(subparsers)
    _add_backbone_commands(subparsers)
    _add_pixel_commands(subparsers)
    _add_fetch_command(subparsers)
    _add_find_rate_command(subparsers)
    _add_measure_command(subparsers)
    # Only for `--help`: `main` passes the arguments of the page on before it parses any.
    name, *aliases = PAGE_COMMANDS
    page_parser = subparsers.add_parser(name, aliases=aliases, help=messages.get_text("cli.ui"), add_help=False)
    page_parser.set_defaults(command=None)
    return root_parser


def _add_command(
    subparsers: _Subparsers, name: str, *run_arguments: str, command_module: ModuleType = train_command
) -> CommandParser:
    """Add the parser of a command, which calls the function of the same name.

    Args:
        subparsers: of the root parser.
        name: of the command; its function has underscores in place of hyphens.
        *run_arguments: `runs` adds the flag of the folder with all runs, `run` the argument that names one of them.
        command_module: module with the function.

    Returns:
        The parser of the command, with the flag `--json`.
    """
    function_name = name.replace("-", "_")
    description = messages.get_text(f"cli.{function_name}")
    command_parser = subparsers.add_parser(name, help=description, description=description)
    command_parser.set_defaults(command=getattr(command_module, function_name))
    command_parser.add_argument("--json", action="store_true", help=messages.get_text("cli.json"))
    if "runs" in run_arguments:
        command_parser.add_argument("--runs", default="runs", metavar="DIR", help=messages.get_text("cli.runs_folder"))
    if "run" in run_arguments:
        command_parser.add_argument("run", metavar="RUN", help=messages.get_text("cli.run"))
    return command_parser


def _add_scan_command(subparsers: _Subparsers) -> None:
    """Add `scan`."""
    scan_parser = _add_command(subparsers, "scan", command_module=scan_command)
    scan_parser.add_argument("folder", metavar="DIR|ZIP|LIST", help=messages.get_text("setting.data.hint"))
    # There is no `--config` to fill in what is missing, so these flags have their defaults.
    for name in (*train_config.SPLIT_FIELDS, "exclude", "backbone"):
        add_setting_flag(scan_parser, name, train_config.FIELDS[name][1])
    scan_parser.add_argument("--deep", action="store_true", help=messages.get_text("cli.deep"))


def _add_train_command(subparsers: _Subparsers) -> None:
    """Add `train`."""
    train_parser = _add_command(subparsers, "train", "runs")
    _add_config_flags(train_parser)
    queue_flags.add_queue_flags(train_parser)
    add_setting_groups(train_parser)


def _add_queue_command(subparsers: _Subparsers) -> None:
    """Add `queue`."""
    queue_flags.add_queue_dir_flag(_add_command(subparsers, "queue", "runs", command_module=queue_command))


def _add_recipes_command(subparsers: _Subparsers) -> None:
    """Add `recipes`."""
    recipes_parser = _add_command(subparsers, "recipes", command_module=recipes)
    recipes_parser.add_argument("name", nargs="?", metavar="NAME", help=messages.get_text("cli.one_recipe"))


def _add_run_commands(subparsers: _Subparsers) -> None:
    """Add the commands about existing runs: `runs`, `rename`, `note`, `delete`, `restore`, `bin`, `stop`, `resume`."""
    runs_parser = _add_command(subparsers, "runs", "runs", command_module=runs)
    runs_parser.add_argument("--search", default="", metavar="WORDS", help=messages.get_text("cli.search"))
    runs_parser.add_argument(
        "--sort", choices=run_table.SORT_ORDERS, default=run_table.SORT_ORDERS[0], help=messages.get_text("cli.sort")
    )
    rename_parser = _add_command(subparsers, "rename", "runs", "run", command_module=runs)
    title_help = messages.get_text("cli.run_title", most=run_notes.MAX_TITLE_CHARS)
    rename_parser.add_argument("title", metavar="TITLE", help=title_help)
    note_parser = _add_command(subparsers, "note", "runs", "run", command_module=runs)
    notes_help = messages.get_text("cli.run_notes", most=run_notes.MAX_NOTES_CHARS)
    note_parser.add_argument("text", metavar="TEXT", help=notes_help)
    delete_parser = _add_command(subparsers, "delete", "runs", command_module=runs)
    delete_parser.add_argument("several", nargs="+", metavar="RUN", help=messages.get_text("cli.several_runs"))
    restore_parser = _add_command(subparsers, "restore", "runs", command_module=runs)
    restore_parser.add_argument("several", nargs="+", metavar="RUN", help=messages.get_text("cli.several_binned"))
    bin_parser = _add_command(subparsers, "bin", "runs", command_module=runs)
    bin_parser.add_argument("--empty", action="store_true", help=messages.get_text("cli.empty"))
    stop_parser = _add_command(subparsers, "stop", "runs", "run")
    stop_parser.add_argument("--now", action="store_true", help=messages.get_text("cli.now"))
    queue_flags.add_queue_flags(_add_command(subparsers, "resume", "runs", "run"))


def _add_evaluate_command(subparsers: _Subparsers) -> None:
    """Add `evaluate`."""
    evaluate_parser = _add_command(subparsers, "evaluate", "runs", "run", command_module=evaluate_command)
    evaluate_parser.add_argument(
        "--split", choices=("train", "val", "test"), default="test", help=messages.get_text("cli.split")
    )
    evaluate_parser.add_argument("--folder", metavar="DIR|ZIP|LIST", help=messages.get_text("cli.folder"))
    evaluate_parser.add_argument(
        "--which", choices=("best", "last", "both"), default="best", help=messages.get_text("cli.which")
    )
    evaluate_parser.add_argument("--out", metavar="DIR", help=messages.get_text("cli.report_out"))


def _add_predict_command(subparsers: _Subparsers) -> None:
    """Add `predict`."""
    predict_parser = _add_command(subparsers, "predict", "runs", "run", command_module=predict_command)
    predict_parser.add_argument("files", nargs="+", metavar="FILE|DIR", help=messages.get_text("cli.files"))
    predict_parser.add_argument("--top", type=int, default=5, metavar="K", help=messages.get_text("cli.top"))
    cluster_help = messages.get_text("cli.predict_cluster")
    predict_parser.add_argument("--cluster", metavar="ADDRESS", help=cluster_help)
    predict_parser.add_argument("--reject", action="store_true", help=messages.get_text("cli.reject"))


def _add_explain_command(subparsers: _Subparsers) -> None:
    """Add `explain`."""
    parser = _add_command(subparsers, "explain", "runs", "run", command_module=explain_command)
    parser.add_argument("files", nargs="+", metavar="FILE|DIR", help=messages.get_text("cli.files"))
    # `options.class` would be a syntax error.
    parser.add_argument("--class", dest="of", metavar="NAME", help=messages.get_text("cli.class"))
    parser.add_argument("--out", required=True, metavar="PNG|DIR", help=messages.get_text("cli.out"))
    parser.add_argument("--opacity", type=float, default=0.6, metavar="0…1", help=messages.get_text("cli.opacity"))
    methods_help = messages.get_text("cli.method", names=", ".join(CAM_METHODS), standard=CAM_METHODS[0])
    parser.add_argument("--method", choices=CAM_METHODS, default=CAM_METHODS[0], metavar="NAME", help=methods_help)
    parser.add_argument("--layer", default="", metavar="LAYER", help=messages.get_text("cli.layer"))
    parser.add_argument("--against", metavar="RUN", help=messages.get_text("cli.against"))
    for key in ("overlays", "figures", "before", "score_map"):
        flag = f"--{key.removesuffix('_map')}"
        parser.add_argument(flag, action="store_true", help=messages.get_text(f"cli.{key}"))


def _add_export_command(subparsers: _Subparsers) -> None:
    """Add `export`, `push`, `push-data` and `shard`."""
    export_command.add_flags(_add_command(subparsers, "export", "runs", "run", command_module=export_command))
    export_command.add_push_flags(_add_command(subparsers, "push", "runs", "run", command_module=export_command))
    export_command.add_push_data_flags(_add_command(subparsers, "push-data", command_module=export_command))
    shard_command.add_flags(_add_command(subparsers, "shard", command_module=shard_command))


def _add_comparison_commands(subparsers: _Subparsers) -> None:
    """Add `series` and `compare`."""
    series_parser = _add_command(subparsers, "series", "runs", command_module=compare_command)
    series_parser.add_argument("--config", metavar="FILE", help=messages.get_text("cli.config"))
    for name in train_config.FIELDS:
        if name != "mode":  # a series trains in every mode
            add_setting_flag(series_parser, name)
    compare_parser = _add_command(subparsers, "compare", "runs", command_module=compare_command)
    compare_parser.add_argument("several", nargs="+", metavar="RUN", help=messages.get_text("cli.several"))
    compare_parser.add_argument("--out", metavar="PNG", help=messages.get_text("cli.compare_out"))


def _add_backbone_commands(subparsers: _Subparsers) -> None:
    """Add `backbones` and `layers`."""
    backbones_parser = _add_command(subparsers, "backbones", command_module=backbones_command)
    backbones_parser.add_argument("backbone", nargs="?", metavar="BACKBONE", help=messages.get_text("cli.one_backbone"))
    layers_parser = _add_command(subparsers, "layers", command_module=backbones_command)
    layers_parser.add_argument("backbone", metavar="BACKBONE", help=messages.get_text("cli.backbone"))
    layers_parser.add_argument(
        "--mode", choices=train_config.MODES, default="frozen", help=messages.get_text("cli.layers_mode")
    )
    layers_parser.add_argument("--classes", type=int, default=10, metavar="K", help=messages.get_text("cli.classes"))
    layers_parser.add_argument("--depth", type=int, metavar="N", help=messages.get_text("cli.depth"))


def _add_pixel_commands(subparsers: _Subparsers) -> None:
    """Add `statistics` and `preview`."""
    statistics_parser = _add_command(subparsers, "statistics", command_module=preview_command)
    statistics_parser.add_argument("folder", metavar="DIR|ZIP|LIST", help=messages.get_text("setting.data.hint"))
    for name in train_config.SPLIT_FIELDS:
        add_setting_flag(statistics_parser, name, train_config.FIELDS[name][1])
    preview_parser = _add_command(subparsers, "preview", command_module=preview_command)
    _add_config_flags(preview_parser)
    preview_parser.add_argument("--picture", type=int, default=1, metavar="N", help=messages.get_text("cli.picture"))
    preview_parser.add_argument("--out", required=True, metavar="PNG", help=messages.get_text("cli.preview_out"))
    for name in train_config.FIELDS:
        add_setting_flag(preview_parser, name)


def _add_fetch_command(subparsers: _Subparsers) -> None:
    """Add `fetch`."""
    fetch_parser = _add_command(subparsers, "fetch", command_module=fetch_command)
    fetch_parser.add_argument("name", nargs="?", metavar="NAME", help=messages.get_text("cli.fetch_name"))
    fetch_parser.add_argument("--to", metavar="DIR", help=messages.get_text("cli.fetch_to"))


def _add_find_rate_command(subparsers: _Subparsers) -> None:
    """Add `find-rate`."""
    find_rate_parser = _add_command(subparsers, "find-rate")
    _add_config_flags(find_rate_parser)
    find_rate_parser.add_argument("--out", metavar="PNG", help=messages.get_text("cli.rates_out"))
    add_setting_groups(find_rate_parser)


def _add_measure_command(subparsers: _Subparsers) -> None:
    """Add `measure`."""
    measure_parser = _add_command(subparsers, "measure")
    measure_parser.add_argument("--config", required=True, metavar="FILE", help=messages.get_text("cli.config"))


def _add_config_flags(command_parser: argparse.ArgumentParser) -> None:
    """Add the flags of the configuration that the other flags override."""
    command_parser.add_argument("--config", metavar="FILE", help=messages.get_text("cli.config"))
    command_parser.add_argument("--recipe", metavar="NAME", help=messages.get_text("cli.recipe"))
