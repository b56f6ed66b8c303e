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
from ftlab.inference.cam_options import METHODS
from ftlab.runs import run_notes, run_table


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    if argv is None:
        argv = sys.argv[1:]
    if argv[:1] == ["ui"]:
        from ftlab.ui.serve import serve

        return serve(list(argv[1:]))
    options = parser().parse_args(argv)
    try:
        status = int(options.command(options) or 0)
        sys.stdout.flush()
        return status
    except FtlabError as mistake:
        print(f"ftlab: {mistake}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader (`| head`) has seen enough; what Python flushes at its end has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, without all the flags before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """All commands and their flags; those of `train` derive from the configuration's knobs."""
    top = _Parser(prog="ftlab", description=messages.text("cli.about"))
    top.add_argument("--version", action="version", version=__version__)
    verbs = top.add_subparsers(metavar="COMMAND", required=True)

    def verb(name: str, *places: str, room: ModuleType = train_command) -> argparse.ArgumentParser:
        own = name.replace("-", "_")
        about = messages.text(f"cli.{own}")
        made = verbs.add_parser(name, help=about, description=about)
        made.set_defaults(command=getattr(room, own))
        made.add_argument("--json", action="store_true", help=messages.text("cli.json"))
        if "runs" in places:
            made.add_argument("--runs", default="runs", metavar="DIR", help=messages.text("cli.runs_folder"))
        if "run" in places:
            made.add_argument("run", metavar="RUN", help=messages.text("cli.run"))
        return made

    scan = verb("scan", room=scan_command)
    scan.add_argument("folder", metavar="DIR|ZIP|LIST", help=messages.text("knob.data.hint"))
    for name in (*train_config.DEALING, "exclude", "backbone"):
        _knob_flag(scan, name, train_config.KNOBS[name][1])
    scan.add_argument("--deep", action="store_true", help=messages.text("cli.deep"))

    train = verb("train", "runs")
    _starting_point(train)
    for name in train_config.KNOBS:
        _knob_flag(train, name)

    listed = verb("recipes", room=recipes)
    listed.add_argument("name", nargs="?", metavar="NAME", help=messages.text("cli.one_recipe"))
    several = messages.text("cli.several_runs")
    past = verb("runs", "runs", room=runs)
    past.add_argument("--search", default="", metavar="WORDS", help=messages.text("cli.search"))
    past.add_argument("--sort", choices=run_table.SORTS, default=run_table.SORTS[0], help=messages.text("cli.sort"))
    called = verb("rename", "runs", "run", room=runs)
    called.add_argument("title", metavar="TITLE", help=messages.text("cli.run_title", most=run_notes.TITLE))
    noted = verb("note", "runs", "run", room=runs)
    noted.add_argument("text", metavar="TEXT", help=messages.text("cli.run_notes", most=run_notes.NOTES))
    verb("delete", "runs", room=runs).add_argument("several", nargs="+", metavar="RUN", help=several)
    binned = messages.text("cli.several_binned")
    verb("restore", "runs", room=runs).add_argument("several", nargs="+", metavar="RUN", help=binned)
    verb("bin", "runs", room=runs).add_argument("--empty", action="store_true", help=messages.text("cli.empty"))
    stop = verb("stop", "runs", "run")
    stop.add_argument("--now", action="store_true", help=messages.text("cli.now"))
    verb("resume", "runs", "run")

    evaluate = verb("evaluate", "runs", "run", room=evaluate_command)
    evaluate.add_argument("--split", choices=("train", "val", "test"), default="test", help=messages.text("cli.split"))
    evaluate.add_argument("--folder", metavar="DIR|ZIP|LIST", help=messages.text("cli.folder"))
    evaluate.add_argument("--which", choices=("best", "last", "both"), default="best", help=messages.text("cli.which"))
    evaluate.add_argument("--out", metavar="DIR", help=messages.text("cli.report_out"))

    predict = verb("predict", "runs", "run", room=predict_command)
    predict.add_argument("files", nargs="+", metavar="FILE|DIR", help=messages.text("cli.files"))
    predict.add_argument("--top", type=int, default=5, metavar="K", help=messages.text("cli.top"))

    explain = verb("explain", "runs", "run", room=explain_command)
    explain.add_argument("files", nargs="+", metavar="FILE|DIR", help=messages.text("cli.files"))
    explain.add_argument("--class", dest="of", metavar="NAME", help=messages.text("cli.class"))
    explain.add_argument("--out", required=True, metavar="PNG|DIR", help=messages.text("cli.out"))
    explain.add_argument("--opacity", type=float, default=0.6, metavar="0…1", help=messages.text("cli.opacity"))
    methods = messages.text("cli.method", names=", ".join(METHODS), standard=METHODS[0])
    explain.add_argument("--method", choices=METHODS, default=METHODS[0], metavar="NAME", help=methods)
    explain.add_argument("--layer", default="", metavar="LAYER", help=messages.text("cli.layer"))
    explain.add_argument("--before", action="store_true", help=messages.text("cli.before"))
    explain.add_argument("--against", metavar="RUN", help=messages.text("cli.against"))
    explain.add_argument("--score", action="store_true", help=messages.text("cli.score_map"))

    series = verb("series", "runs", room=compare_command)
    series.add_argument("--config", metavar="FILE", help=messages.text("cli.config"))
    for name in train_config.KNOBS:
        if name != "mode":
            _knob_flag(series, name)

    compare = verb("compare", "runs", room=compare_command)
    compare.add_argument("several", nargs="+", metavar="RUN", help=messages.text("cli.several"))
    compare.add_argument("--out", metavar="PNG", help=messages.text("cli.compare_out"))

    backbones = verb("backbones", room=backbones_command)
    backbones.add_argument("backbone", nargs="?", metavar="BACKBONE", help=messages.text("cli.one_backbone"))

    layers = verb("layers", room=backbones_command)
    layers.add_argument("backbone", metavar="BACKBONE", help=messages.text("cli.backbone"))
    layers.add_argument("--mode", choices=train_config.MODES, default="frozen", help=messages.text("cli.layers_mode"))
    layers.add_argument("--classes", type=int, default=10, metavar="K", help=messages.text("cli.classes"))
    layers.add_argument("--depth", type=int, metavar="N", help=messages.text("cli.depth"))

    statistics = verb("statistics", room=preview_command)
    statistics.add_argument("folder", metavar="DIR|ZIP|LIST", help=messages.text("knob.data.hint"))
    for name in train_config.DEALING:
        _knob_flag(statistics, name, train_config.KNOBS[name][1])

    preview = verb("preview", room=preview_command)
    _starting_point(preview)
    preview.add_argument("--picture", type=int, default=1, metavar="N", help=messages.text("cli.picture"))
    preview.add_argument("--out", required=True, metavar="PNG", help=messages.text("cli.preview_out"))
    for name in train_config.KNOBS:
        _knob_flag(preview, name)

    fetch = verb("fetch", room=fetch_command)
    fetch.add_argument("name", nargs="?", metavar="NAME", help=messages.text("cli.fetch_name"))
    fetch.add_argument("--to", metavar="DIR", help=messages.text("cli.fetch_to"))

    finder = verb("find-rate", room=find_rate)
    _starting_point(finder)
    finder.add_argument("--out", metavar="PNG", help=messages.text("cli.rates_out"))
    for name in train_config.KNOBS:
        _knob_flag(finder, name)

    measure = verb("measure")
    measure.add_argument("--config", required=True, metavar="FILE", help=messages.text("cli.config"))

    ui = verbs.add_parser("ui", help=messages.text("cli.ui"), add_help=False)
    ui.set_defaults(command=None)
    return top


def _starting_point(to: argparse.ArgumentParser) -> None:
    """The flags of what other flags change."""
    to.add_argument("--config", metavar="FILE", help=messages.text("cli.config"))
    to.add_argument("--recipe", metavar="NAME", help=messages.text("cli.recipe"))


def _knob_flag(to: argparse.ArgumentParser, name: str, default: Any = argparse.SUPPRESS) -> None:
    """The flag of a knob. One that is not given is left out of the result, so that `--config` can fill it."""
    knob, standard = train_config.KNOBS[name]
    hint = messages.text(f"knob.{name}.hint").replace("%", "%%")
    shown = f" [{standard}]" if standard not in (None, "") else ""
    choices = ",".join(filter(None, knob.choices))
    # The configuration itself refuses what is no choice, in its own words.
    metavar = f"{{{choices}}}" if choices else train_config.kind(name).__name__.upper()
    to.add_argument(
        train_config.flag(name), type=train_config.kind(name), default=default, metavar=metavar, help=hint + shown
    )
