"""The command line: all that the page does.

Results go to standard output (`--json`: as JSON), progress to standard error. Exit status 0; 2 for a person's
mistake, told in one line; 1 for a bug, with its traceback. What a command needs is imported when it runs, so that
`--help` and `runs` answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from ftlab import __version__
from ftlab.cli.commands import backbones as backbones_command
from ftlab.cli.commands import compare as compare_command
from ftlab.cli.commands import evaluate as evaluate_command
from ftlab.cli.commands import explain as explain_command
from ftlab.cli.commands import fetch as fetch_command
from ftlab.cli.commands import find_rate, recipes, runs
from ftlab.cli.commands import predict as predict_command
from ftlab.cli.commands import preview as preview_command
from ftlab.cli.commands import scan as scan_command
from ftlab.cli.commands import train as train_command
from ftlab.config import train_config
from ftlab.core import messages
from ftlab.core.errors import FtlabError
from ftlab.inference.cam_options import CAM_METHODS
from ftlab.runs import run_notes, run_table


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    if argv is None:
        argv = sys.argv[1:]
    if argv[:1] == ["ui"]:
        from ftlab.ui.serve import serve

        return serve(list(argv[1:]))
    options = build_parser().parse_args(argv)
    try:
        status = int(options.command(options) or 0)
        sys.stdout.flush()
        return status
    except FtlabError as error:
        print(f"ftlab: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader (`| head`) has seen enough; what Python flushes at its end has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _CommandParser(argparse.ArgumentParser):
    """Tells a mistake in one line, without all the flags before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """All commands and their flags; those of `train_parser` derive from the configuration's knobs."""
    root_parser = _CommandParser(prog="ftlab", description=messages.get_text("cli.about"))
    root_parser.add_argument("--version", action="version", version=__version__)
    subparsers = root_parser.add_subparsers(metavar="COMMAND", required=True)

    def add_command(
        name: str, *run_arguments: str, command_module: ModuleType = train_command
    ) -> argparse.ArgumentParser:
        function_name = name.replace("-", "_")
        description = messages.get_text(f"cli.{function_name}")
        command_parser = subparsers.add_parser(name, help=description, description=description)
        command_parser.set_defaults(command=getattr(command_module, function_name))
        command_parser.add_argument("--json", action="store_true", help=messages.get_text("cli.json"))
        if "runs" in run_arguments:
            command_parser.add_argument(
                "--runs", default="runs", metavar="DIR", help=messages.get_text("cli.runs_folder")
            )
        if "run" in run_arguments:
            command_parser.add_argument("run", metavar="RUN", help=messages.get_text("cli.run"))
        return command_parser

    scan_parser = add_command("scan", command_module=scan_command)
    scan_parser.add_argument("folder", metavar="DIR|ZIP|LIST", help=messages.get_text("knob.data.hint"))
    for name in (*train_config.SPLIT_FIELDS, "exclude", "backbone"):
        _add_field_flag(scan_parser, name, train_config.FIELDS[name][1])
    scan_parser.add_argument("--deep", action="store_true", help=messages.get_text("cli.deep"))

    train_parser = add_command("train", "runs")
    _add_config_flags(train_parser)
    for name in train_config.FIELDS:
        _add_field_flag(train_parser, name)

    recipes_parser = add_command("recipes", command_module=recipes)
    recipes_parser.add_argument("name", nargs="?", metavar="NAME", help=messages.get_text("cli.one_recipe"))
    several_help = messages.get_text("cli.several_runs")
    runs_parser = add_command("runs", "runs", command_module=runs)
    runs_parser.add_argument("--search", default="", metavar="WORDS", help=messages.get_text("cli.search"))
    runs_parser.add_argument(
        "--sort", choices=run_table.SORT_ORDERS, default=run_table.SORT_ORDERS[0], help=messages.get_text("cli.sort")
    )
    rename_parser = add_command("rename", "runs", "run", command_module=runs)
    rename_parser.add_argument(
        "title", metavar="TITLE", help=messages.get_text("cli.run_title", most=run_notes.MAX_TITLE_CHARS)
    )
    note_parser = add_command("note", "runs", "run", command_module=runs)
    note_parser.add_argument(
        "text", metavar="TEXT", help=messages.get_text("cli.run_notes", most=run_notes.MAX_NOTES_CHARS)
    )
    add_command("delete", "runs", command_module=runs).add_argument(
        "several", nargs="+", metavar="RUN", help=several_help
    )
    binned_help = messages.get_text("cli.several_binned")
    add_command("restore", "runs", command_module=runs).add_argument(
        "several", nargs="+", metavar="RUN", help=binned_help
    )
    add_command("bin", "runs", command_module=runs).add_argument(
        "--empty", action="store_true", help=messages.get_text("cli.empty")
    )
    stop_parser = add_command("stop", "runs", "run")
    stop_parser.add_argument("--now", action="store_true", help=messages.get_text("cli.now"))
    add_command("resume", "runs", "run")

    evaluate_parser = add_command("evaluate", "runs", "run", command_module=evaluate_command)
    evaluate_parser.add_argument(
        "--split", choices=("train", "val", "test"), default="test", help=messages.get_text("cli.split")
    )
    evaluate_parser.add_argument("--folder", metavar="DIR|ZIP|LIST", help=messages.get_text("cli.folder"))
    evaluate_parser.add_argument(
        "--which", choices=("best", "last", "both"), default="best", help=messages.get_text("cli.which")
    )
    evaluate_parser.add_argument("--out", metavar="DIR", help=messages.get_text("cli.report_out"))

    predict_parser = add_command("predict", "runs", "run", command_module=predict_command)
    predict_parser.add_argument("files", nargs="+", metavar="FILE|DIR", help=messages.get_text("cli.files"))
    predict_parser.add_argument("--top", type=int, default=5, metavar="K", help=messages.get_text("cli.top"))

    explain_parser = add_command("explain", "runs", "run", command_module=explain_command)
    explain_parser.add_argument("files", nargs="+", metavar="FILE|DIR", help=messages.get_text("cli.files"))
    explain_parser.add_argument("--class", dest="of", metavar="NAME", help=messages.get_text("cli.class"))
    explain_parser.add_argument("--out", required=True, metavar="PNG|DIR", help=messages.get_text("cli.out"))
    explain_parser.add_argument(
        "--opacity", type=float, default=0.6, metavar="0…1", help=messages.get_text("cli.opacity")
    )
    methods_help = messages.get_text("cli.method", names=", ".join(CAM_METHODS), standard=CAM_METHODS[0])
    explain_parser.add_argument(
        "--method", choices=CAM_METHODS, default=CAM_METHODS[0], metavar="NAME", help=methods_help
    )
    explain_parser.add_argument("--layer", default="", metavar="LAYER", help=messages.get_text("cli.layer"))
    explain_parser.add_argument("--before", action="store_true", help=messages.get_text("cli.before"))
    explain_parser.add_argument("--against", metavar="RUN", help=messages.get_text("cli.against"))
    explain_parser.add_argument("--score", action="store_true", help=messages.get_text("cli.score_map"))

    series_parser = add_command("series", "runs", command_module=compare_command)
    series_parser.add_argument("--config", metavar="FILE", help=messages.get_text("cli.config"))
    for name in train_config.FIELDS:
        if name != "mode":
            _add_field_flag(series_parser, name)

    compare_parser = add_command("compare", "runs", command_module=compare_command)
    compare_parser.add_argument("several", nargs="+", metavar="RUN", help=messages.get_text("cli.several"))
    compare_parser.add_argument("--out", metavar="PNG", help=messages.get_text("cli.compare_out"))

    backbones_parser = add_command("backbones", command_module=backbones_command)
    backbones_parser.add_argument("backbone", nargs="?", metavar="BACKBONE", help=messages.get_text("cli.one_backbone"))

    layers_parser = add_command("layers", command_module=backbones_command)
    layers_parser.add_argument("backbone", metavar="BACKBONE", help=messages.get_text("cli.backbone"))
    layers_parser.add_argument(
        "--mode", choices=train_config.MODES, default="frozen", help=messages.get_text("cli.layers_mode")
    )
    layers_parser.add_argument("--classes", type=int, default=10, metavar="K", help=messages.get_text("cli.classes"))
    layers_parser.add_argument("--depth", type=int, metavar="N", help=messages.get_text("cli.depth"))

    statistics_parser = add_command("statistics", command_module=preview_command)
    statistics_parser.add_argument("folder", metavar="DIR|ZIP|LIST", help=messages.get_text("knob.data.hint"))
    for name in train_config.SPLIT_FIELDS:
        _add_field_flag(statistics_parser, name, train_config.FIELDS[name][1])

    preview_parser = add_command("preview", command_module=preview_command)
    _add_config_flags(preview_parser)
    preview_parser.add_argument("--picture", type=int, default=1, metavar="N", help=messages.get_text("cli.picture"))
    preview_parser.add_argument("--out", required=True, metavar="PNG", help=messages.get_text("cli.preview_out"))
    for name in train_config.FIELDS:
        _add_field_flag(preview_parser, name)

    fetch_parser = add_command("fetch", command_module=fetch_command)
    fetch_parser.add_argument("name", nargs="?", metavar="NAME", help=messages.get_text("cli.fetch_name"))
    fetch_parser.add_argument("--to", metavar="DIR", help=messages.get_text("cli.fetch_to"))

    find_rate_parser = add_command("find-rate", command_module=find_rate)
    _add_config_flags(find_rate_parser)
    find_rate_parser.add_argument("--out", metavar="PNG", help=messages.get_text("cli.rates_out"))
    for name in train_config.FIELDS:
        _add_field_flag(find_rate_parser, name)

    measure_parser = add_command("measure")
    measure_parser.add_argument("--config", required=True, metavar="FILE", help=messages.get_text("cli.config"))

    ui_parser = subparsers.add_parser("ui", help=messages.get_text("cli.ui"), add_help=False)
    ui_parser.set_defaults(command=None)
    return root_parser


def _add_config_flags(command_parser: argparse.ArgumentParser) -> None:
    """The flags of what other flags change."""
    command_parser.add_argument("--config", metavar="FILE", help=messages.get_text("cli.config"))
    command_parser.add_argument("--recipe", metavar="NAME", help=messages.get_text("cli.recipe"))


def _add_field_flag(command_parser: argparse.ArgumentParser, name: str, default: Any = argparse.SUPPRESS) -> None:
    """The flag of a knob. One that is not given is left out of the result, so that `--config` can fill it."""
    field_spec, standard_value = train_config.FIELDS[name]
    hint = messages.get_text(f"knob.{name}.hint").replace("%", "%%")
    default_hint = f" [{standard_value}]" if standard_value not in (None, "") else ""
    choices = ",".join(filter(None, field_spec.choices))
    # The configuration itself refuses what is no choice, in its own words.
    metavar = f"{{{choices}}}" if choices else train_config.get_field_type(name).__name__.upper()
    command_parser.add_argument(
        train_config.format_flag(name),
        type=train_config.get_field_type(name),
        default=default,
        metavar=metavar,
        help=hint + default_hint,
    )
