"""The commands `export`, `push` and `push-data`: models for other programs, here or on the Hub; images on the Hub."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.cli.parsing.setting_flags import add_setting_flag
from ftlab.cli.terminal.output import open_progress_bar, print_json, print_problem, print_table
from ftlab.config import train_config
from ftlab.core import interruption, messages
from ftlab.export import formats
from ftlab.export.formats import ExportOptions
from ftlab.runs import run_store
from ftlab.runs.jobs import export_job, priority

if TYPE_CHECKING:
    from ftlab.export.parity import ParityReport


def add_flags(parser: ArgumentParser) -> None:
    """Add the flags of the command to its parser."""
    format_help = messages.get_text("cli.export_format", names=", ".join(formats.FORMATS))
    parser.add_argument("--format", required=True, choices=formats.FORMATS, metavar="NAME", help=format_help)
    parser.add_argument("--out", required=True, metavar="DIR|ZIP", help=messages.get_text("cli.export_out"))
    parser.add_argument("--half", action="store_true", help=messages.get_text("cli.export_half"))
    parser.add_argument("--int8", action="store_true", help=messages.get_text("cli.export_int8"))
    _add_model_flags(parser)
    parser.add_argument("--force", action="store_true", help=messages.get_text("cli.export_force"))


def _add_model_flags(parser: ArgumentParser) -> None:
    """Add the flags that `export` and `push` share: which weights, examples, and without the check."""
    which_help = messages.get_text("cli.export_which")
    parser.add_argument("--which", choices=("best", "last"), default="best", help=which_help)
    examples_help = messages.get_text("cli.export_examples")
    parser.add_argument("--examples", type=int, default=0, metavar="N", help=examples_help)
    no_check_help = messages.get_text("cli.export_no_check")
    parser.add_argument("--no-check", dest="check", action="store_false", help=no_check_help)


@interruption.end_in_order()
def export(options: Namespace) -> None:
    """Export the model of a run and print how far the export is from it.

    Raises:
        FailedCheckError: it is farther than its format allows.
    """
    priority.apply_declared_priority()
    write_progress = export_job.find_progress_writer()
    export_format = formats.get_format(options.format)
    export_format.load()  # before the model, which takes seconds
    run = run_store.find_usable_run(options.runs, options.run)
    from ftlab.export.export_run import FailedCheckError, export_run

    try:
        with open_progress_bar("cli.exporting") as progress:
            result = export_run(
                run,
                export_format,
                Path(options.out),
                ExportOptions(options.half, options.int8, options.examples),
                weights_choice=options.which,
                check=options.check,
                force=options.force,
                progress=write_progress or progress,
            )
    except FailedCheckError as error:
        if options.json:
            print_json({"out": None, "check": error.report.to_json(), "forced": False})
        else:
            _print_report(error.report)
        raise
    if options.json:
        print_json(result.to_json())
        return
    if result.report:
        _print_report(result.report)
    is_complete = result.report is not None or not export_format.has_model
    key = "cli.exported_forced" if result.forced else "cli.exported" if is_complete else "cli.exported_unchecked"
    key = "cli.exported_not_run" if result.structure_only else key
    print(messages.get_text(key, format=export_format.name, out=result.path))


def add_push_flags(parser: ArgumentParser) -> None:
    """Add the flags of `push` to its parser. None has a token as its value: others on the machine would see it."""
    parser.add_argument("--to", required=True, metavar="USER/NAME", help=messages.get_text("cli.push_to"))
    parser.add_argument("--private", action="store_true", help=messages.get_text("cli.push_private"))
    parser.add_argument(export_job.TOKEN_FLAG, action="store_true", help=messages.get_text("cli.push_token_stdin"))
    format_help = messages.get_text("cli.push_format", names=", ".join(formats.FORMATS))
    parser.add_argument(
        "--format", default=export_job.DEFAULT_PUSH_FORMAT, choices=formats.FORMATS, metavar="NAME", help=format_help
    )
    _add_model_flags(parser)


@interruption.end_in_order()
def push(options: Namespace) -> None:
    """Push the model of a run to the Hugging Face Hub and print where it is."""
    priority.apply_declared_priority()
    token = export_job.read_token() if options.token_stdin else None
    write_progress = export_job.find_progress_writer()
    export_format = formats.get_format(options.format)
    export_format.load()
    run = run_store.find_usable_run(options.runs, options.run)
    from ftlab.export.hub.push import push_run

    with open_progress_bar("cli.exporting") as progress:
        result = push_run(
            run,
            export_format,
            options.to,
            token=token,
            private=options.private,
            options=ExportOptions(example_count=options.examples),
            weights_choice=options.which,
            check=options.check,
            progress=write_progress or progress,
            on_upload=(lambda byte_count: write_progress(0, 0, byte_count)) if write_progress else lambda _: None,
        )
    report = result.export.report
    if options.json:
        check_values = report.to_json() if report else None
        print_json({"repository": result.repo_id, "url": result.url, "commit": result.commit, "check": check_values})
        return
    if report:
        _print_report(report)
    print(messages.get_text("cli.pushed", url=result.url, commit=result.commit[:12]))


def add_push_data_flags(parser: ArgumentParser) -> None:
    """Add the arguments and flags of `push-data` to its parser."""
    parser.add_argument("folder", metavar="DIR|ZIP|LIST", help=messages.get_text("setting.data.hint"))
    parser.add_argument("--to", required=True, metavar="USER/NAME", help=messages.get_text("cli.push_to"))
    parser.add_argument("--public", action="store_true", help=messages.get_text("cli.push_public"))
    parser.add_argument(export_job.TOKEN_FLAG, action="store_true", help=messages.get_text("cli.push_token_stdin"))
    for name in ("layout", "zip_names", "exclude"):
        add_setting_flag(parser, name, train_config.FIELDS[name][1])


def push_data(options: Namespace) -> None:
    """Push the readable images of a data set and print where they are; what is left out is told before."""
    from ftlab.data.dataset import exclusions
    from ftlab.data.dataset.scan import scan as scan_dataset
    from ftlab.data.sources import links
    from ftlab.models.pretrained import hub_access

    token = export_job.read_token() if options.token_stdin else None
    hub_access.check_repo_id(options.to)  # before the scan, which takes its time
    # A link may lead to images that nobody meant to share.
    links.refuse_outside_links()
    with open_progress_bar("console.checking") as progress:
        catalog = scan_dataset(
            options.folder,
            layout=options.layout,
            zip_names=options.zip_names,
            exclude=exclusions.read_exclusions(options.exclude),
            progress=progress,
        )
    from ftlab.export.hub import data_files, data_push

    files = data_files.list_data_files(catalog)
    for problem in catalog.problems:
        print_problem(problem.location, problem, sys.stderr)
    values = {"count": f"{len(files.paths):,}", "megabytes": files.total_bytes / 1e6, "name": options.to}
    key = "cli.pushing_public" if options.public else "cli.pushing_private"
    print(messages.get_text(key, **values), file=sys.stderr)
    with open_progress_bar("cli.pushing") as progress:
        result = data_push.push_data(catalog, files, options.to, token=token, public=options.public, progress=progress)
    if options.json:
        print_json(
            {
                "repository": options.to,
                "url": result.url,
                "commit": result.commit,
                "private": result.is_private,
                "images": len(files.paths),
                "bytes": files.total_bytes,
            }
        )
        return
    key = "cli.pushed_private_data" if result.is_private else "cli.pushed_public_data"
    print(messages.get_text(key, url=result.url, commit=result.commit[:12], **values))


def _print_report(report: ParityReport) -> None:
    """Print the table of a check."""
    from ftlab.export import model_card

    (first_name, first_value), *rows = model_card.list_check_rows(report)
    print_table([first_name, first_value], rows)
