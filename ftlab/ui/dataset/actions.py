"""Event handlers of the Dataset tab: scan images, receive a zip, download a tutorial's data set, page through images.

Every event sends the choice along and gets its outputs from the scan of that choice, which the server caches. So a
session holds no state, and a restarted server only scans again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from ftlab.config.name_encodings import NAME_ENCODINGS
from ftlab.core import messages
from ftlab.core.errors import DataError, FtlabError
from ftlab.core.html import Markup, join_html
from ftlab.data.dataset import class_names
from ftlab.data.sources import tutorial_datasets
from ftlab.data.sources.tutorial_datasets import TutorialDataset
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import data_choice, uploads
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.common.latest_only import LatestQuestions
from ftlab.ui.common.page_events import get_person
from ftlab.ui.dataset import gallery_view, tutorial_picker, view
from ftlab.ui.dataset.source_actions import SourceActions, list_layout_choices


class DatasetActions(SourceActions):
    """All event handlers of the tab. One instance per server: it holds nothing of any visitor.

    Handlers share these parameters, whose names are visible in the page's API: `sample` as in `DataSource`, `folder`
    for the location (see `DatasetTab`), `val` and `test` for the fractions of both splits, `progress` for the progress
    bar and `request` for the request of the page.
    """

    def __init__(self, profile: ServerProfile) -> None:
        """Store the profile of the server."""
        super().__init__(profile)
        self._latest = LatestQuestions()

    def show_dataset(
        self,
        sample: str,
        folder: str,
        val: float,
        test: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        request: gr.Request | None = None,
    ) -> list[Any]:
        """Show a choice, from the cached scan if there is one.

        Returns:
            The outputs of a scan: summary, problems, gallery column, class filter, split filter, page, gallery, both
            sliders of fractions, Train button, saved choice, menu of layouts.
        """
        choice = (sample, folder, val, test)
        return self._latest.answer_latest(request, choice, lambda: self._show_dataset(*choice, progress))

    def _show_dataset(self, sample: str, folder: str, val: float, test: float, progress: gr.Progress) -> list[Any]:
        """Return the outputs of a scan, or a hint where nothing was chosen yet."""
        root = self.profile.data_root
        if sample == data_choice.UPLOAD_SOURCE and not folder:
            return _show_message(render_empty_state("dataset.send.choose", "dataset.send.choose_step"))
        if sample == data_choice.FOLDER_SOURCE and root is not None and folder.strip().rstrip("/\\") in ("", str(root)):
            # The path field starts with the root, and nobody wants the whole home folder scanned.
            return _show_message(render_empty_state("dataset.choose", "dataset.choose_step"))
        if (
            sample == data_choice.TUTORIAL_SOURCE
            and folder in tutorial_datasets.DATASETS
            and not tutorial_datasets.find_image_folder(tutorial_datasets.get_dataset(folder))
        ):
            return _show_message(render_empty_state("dataset.tutorial.choose", "dataset.tutorial.choose_step"))
        return self._scan_dataset(sample, folder, val, test, _throttle_progress(progress), fresh=False)

    def rescan_dataset(
        self,
        sample: str,
        folder: str,
        val: float,
        test: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        request: gr.Request | None = None,
    ) -> list[Any]:
        """Show a choice after scanning its files again, as they may have changed.

        Returns:
            The outputs of `show_dataset`.
        """
        scan = partial(self._scan_dataset, sample, folder, val, test, _throttle_progress(progress), fresh=True)
        return self._latest.answer_latest(request, (sample, folder, val, test), scan)

    def receive_upload(
        self,
        zip_path: str | None,
        previous_token: str,
        val: float,
        test: float,
        zip_names: object = "",
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        request: gr.Request | None = None,
    ) -> list[Any]:
        """Unpack an uploaded zip and show its images; the zip itself is not kept.

        Returns:
            Upload token, location, and the outputs of `show_dataset`.
        """
        previous_token = str(previous_token or "")
        if not zip_path:
            return [gr.skip()] * (2 + len(_show_message(Markup(""))))
        try:
            name, report_progress = Path(zip_path).stem, _throttle_progress(progress, "dataset.send.progress")
            # Sent by the page, so anything.
            encoding = zip_names if isinstance(zip_names, str) and zip_names in NAME_ENCODINGS else ""
            options = {"name": name, "name_encoding": encoding}
            token = uploads.unpack_upload(
                self.profile,
                Path(zip_path),
                previous_token,
                **options,
                progress=report_progress,
                person=get_person(self.profile),
            )
        except FtlabError as error:
            return [gr.skip(), gr.skip(), *self._show_refusal(render_error(str(error)), previous_token, val, test)]
        finally:
            # Only what Gradio stored: the handler may be called with any path.
            if Path(zip_path).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
                Path(zip_path).unlink(missing_ok=True)
        return [token, token, *self.show_dataset(data_choice.UPLOAD_SOURCE, token, val, test, progress, request)]

    def fetch_tutorial(
        self,
        dataset_name: str,
        val: float,
        test: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[Any]:
        """Download a tutorial's data set unless it is here, and show its images.

        Returns:
            Menu, its button, location, and the outputs of `show_dataset`.
        """
        reporters: dict[str, Callable[[int, int], None]] = {}

        def report_stage(stage: str, done_count: int, total: int) -> None:
            # Of a download megabytes are shown, of unpacking files.
            scale = 1 if stage == "unpack" else 1_000_000
            report = reporters.setdefault(stage, _throttle_progress(progress, f"dataset.tutorial.{stage}"))
            report(done_count // scale, max(1, total // scale))

        try:
            dataset = self._download_tutorial(str(dataset_name), report_stage)
        except FtlabError as error:
            return [gr.skip(), gr.skip(), gr.skip(), *_show_message(render_error(str(error)))]
        outputs = self.show_dataset(data_choice.TUTORIAL_SOURCE, dataset.name, val, test, progress)
        menu = gr.Dropdown(choices=tutorial_picker.list_dataset_choices(self.profile), value=dataset.name)
        return [menu, gr.Button(tutorial_picker.format_button_text(dataset.name)), dataset.name, *outputs]

    def _download_tutorial(self, dataset_name: str, progress: Callable[[str, int, int], None]) -> TutorialDataset:
        """Return a tutorial's data set after downloading it, unless it is here.

        Raises:
            DataError: it is not here, and others reach this server, who must not fill its disk.
        """
        dataset = tutorial_datasets.get_dataset(dataset_name)
        if not self.profile.is_local and not tutorial_datasets.find_image_folder(dataset):
            raise DataError("page.no_fetch")
        tutorial_datasets.fetch_dataset(dataset, progress=progress)
        return dataset

    def choose_tutorial(self, dataset_name: str) -> list[Any]:
        """Return description and button text of the data set chosen in the menu."""
        if dataset_name not in tutorial_datasets.DATASETS:
            return [gr.skip(), gr.skip()]
        return [
            tutorial_picker.render_dataset_info(dataset_name),
            gr.Button(tutorial_picker.format_button_text(dataset_name)),
        ]

    def _show_refusal(self, message: Markup, previous_token: str, val: float, test: float) -> list[Any]:
        """Return the outputs of a scan with a refusal above the previous upload, if that still exists."""
        try:
            uploads.find_upload(previous_token, get_person(self.profile))
        except FtlabError:
            return _show_message(message)
        summary, *other_outputs = self._scan_dataset(
            data_choice.UPLOAD_SOURCE, previous_token, val, test, lambda *_: None, fresh=False
        )
        return [join_html([message, summary]), *other_outputs]

    def _scan_dataset(
        self, sample: str, folder: str, val: float, test: float, progress: Callable[[int, int], None], *, fresh: bool
    ) -> list[Any]:
        """Return the outputs of a scan, or the error."""
        try:
            source = data_choice.parse_source(self.profile, sample, folder, val, test)
        except FtlabError as error:
            return _show_message(render_error(str(error)))
        layout_menu = gr.Dropdown(list_layout_choices(), value=source.layout, visible=source.folder is not None)
        try:
            catalog = data_choice.scan_source(source, fresh=fresh, progress=progress)
        except FtlabError as error:
            # The menu stays: another reading of the folders may be the remedy.
            return [*_show_message(render_error(str(error)))[:-1], layout_menu]
        splits = gallery_view.list_splits(catalog)
        class_titles = class_names.find_display_names(catalog.root, catalog.classes)
        return [
            view.render_summary(catalog, source),
            view.render_problems(catalog),
            gr.Column(visible=True),
            gr.Dropdown(
                [
                    (messages.get_text("dataset.all_classes"), gallery_view.ALL_CHOICE),
                    *(
                        (messages.escape_control_chars(class_names.get_display_name(name, class_titles)), name)
                        for name in catalog.classes
                    ),
                ],
                value=gallery_view.ALL_CHOICE,
            ),
            gr.Radio(
                [
                    (messages.get_text("dataset.all_splits"), gallery_view.ALL_CHOICE),
                    *((messages.get_text(f"dataset.split.{split}"), split) for split in splits),
                ],
                value=gallery_view.ALL_CHOICE,
            ),
            0,
            gallery_view.render_gallery(catalog, gallery_view.ALL_CHOICE, gallery_view.ALL_CHOICE, 0),
            # Fractions are asked for only where the layout leaves a split open.
            gr.Slider(visible="val" in catalog.random_splits),
            gr.Slider(visible="test" in catalog.random_splits),
            gr.Button(interactive=True),
            {"sample": sample, "folder": folder, "val": val, "test": test},
            layout_menu,
        ]

    def show_first_page(
        self, sample: str, folder: str, val: float, test: float, class_name: str, split: str
    ) -> list[Any]:
        """Return page and gallery of the first page of a class and a split (`gallery_view.ALL_CHOICE` for all)."""
        return self._show_page(sample, folder, val, test, class_name, split, 0)

    def show_next_page(
        self, sample: str, folder: str, val: float, test: float, class_name: str, split: str, page: float | None
    ) -> list[Any]:
        """Return page and gallery of the page after `page`."""
        return self._show_page(sample, folder, val, test, class_name, split, int(page or 0) + 1)

    def _show_page(
        self, sample: str, folder: str, val: float, test: float, class_name: str, split: str, page: int
    ) -> list[Any]:
        try:
            catalog = data_choice.scan_source(data_choice.parse_source(self.profile, sample, folder, val, test))
        except FtlabError as error:
            return [0, render_error(str(error))]
        return [page, gallery_view.render_gallery(catalog, class_name, split, max(page, 0))]


def _show_message(message: Markup) -> list[Any]:
    """Return the outputs of a scan for a message only; what the person chose and typed stays."""
    # `gr.skip()` leaves a component as it is.
    hidden_column = gr.Column(visible=False)
    return [
        message,
        "",
        hidden_column,
        gr.skip(),
        gr.skip(),
        0,
        "",
        gr.skip(),
        gr.skip(),
        gr.Button(interactive=False),
        gr.skip(),
        gr.Dropdown(visible=False),
    ]


def _throttle_progress(progress: gr.Progress, message_key: str = "dataset.progress") -> Callable[[int, int], None]:
    """Return a callback (done, total) that updates the page's progress bar at most ten times a second.

    Args:
        progress: progress bar of the page.
        message_key: message key of its text.

    Returns:
        The callback.
    """
    last_update = 0.0

    def report_progress(done_count: int, total: int) -> None:
        nonlocal last_update
        if time.monotonic() - last_update > 0.1:
            last_update = time.monotonic()
            progress(
                done_count / max(total, 1),
                desc=messages.get_text(message_key, done=f"{done_count:,}", total=f"{total:,}"),
            )

    return report_progress
