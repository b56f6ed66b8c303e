"""The command `fetch`: list and download the data sets of tutorials."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import asdict

from tqdm import tqdm

from ftlab.cli.terminal.output import print_json, print_table
from ftlab.core import messages, shell, user_dirs


def fetch(options: Namespace) -> None:
    """Download a data set, after printing its terms; without a name, list all."""
    from ftlab.data.sources import tutorial_datasets

    if options.name is None:
        _print_datasets(use_json=options.json)
        return
    dataset = tutorial_datasets.get_dataset(options.name)
    target_dir = user_dirs.expand_home(options.to) if options.to else None
    # On standard error: standard output holds the result only.
    print(messages.get_text("cli.terms", title=dataset.title, terms=dataset.terms, page=dataset.page), file=sys.stderr)
    with _StageBar() as bar:
        folder = tutorial_datasets.fetch_dataset(dataset, target_dir, bar.update_stage)
    if options.json:
        print_json({"name": dataset.name, "folder": str(folder)})
    else:
        command = shell.format_command(["python", "-m", "ftlab", "train", "--data", str(folder)])
        print(messages.get_text("cli.fetched", title=dataset.title, folder=folder, command=command))


def _print_datasets(*, use_json: bool) -> None:
    """List the data sets and whether they were downloaded; `use_json` prints JSON lines."""
    from ftlab.data.sources import tutorial_datasets

    datasets = [
        (dataset, tutorial_datasets.find_image_folder(dataset)) for dataset in tutorial_datasets.DATASETS.values()
    ]
    for dataset, folder in datasets if use_json else ():
        print_json(
            {
                **asdict(dataset),
                "folder": str(folder) if folder else None,
                "by_hand": str(tutorial_datasets.get_download_path(dataset)),
            }
        )
    if not use_json:
        available_text, download_key = messages.get_text("cli.weights.here"), "cli.weights.download"
        cells = [
            [
                dataset.name,
                dataset.title,
                dataset.pictures,
                available_text if folder else messages.get_text(download_key, megabytes=dataset.megabytes),
            ]
            for dataset, folder in datasets
        ]
        print_table(["name", "title", "pictures", "data"], cells)


class _StageBar:
    """One progress bar per stage of a download, on a terminal."""

    def __init__(self) -> None:
        """Start without a bar; the first update opens one."""
        self._progress_bar: tqdm[None] | None = None
        self._stage = ""

    def __enter__(self) -> _StageBar:
        """Return the bar itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bar."""
        self._close_bar()

    def update_stage(self, stage: str, done_count: int, total_count: int) -> None:
        """Advance the bar, or open a new one for another stage.

        Args:
            stage: of the download: key below `console` in the message file.
            done_count: bytes, or files of the stage `unpack`, done so far.
            total_count: of the stage.
        """
        if not sys.stderr.isatty():
            return
        if stage != self._stage or self._progress_bar is None:
            self._close_bar()
            unit_options = {} if stage == "unpack" else {"unit": "B", "unit_scale": True}
            self._progress_bar = tqdm(
                desc=messages.get_text(f"console.{stage}"), file=sys.stderr, leave=False, **unit_options
            )
            self._stage = stage
        self._progress_bar.total = total_count
        self._progress_bar.update(done_count - self._progress_bar.n)

    def _close_bar(self) -> None:
        """Close and erase the bar, if there is one."""
        if self._progress_bar is not None:
            self._progress_bar.close()
            self._progress_bar = None
