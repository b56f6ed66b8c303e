"""Event handlers of the Dataset tab: scan images, receive a zip, download a tutorial's data set, page through images.

Every event sends the choice along and gets its outputs from the scan of that choice, which the server caches. So a
session holds no state, and a restarted server only scans again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from ftlab.core import messages
from ftlab.core.errors import DataError, FtlabError
from ftlab.core.html import Markup, join_html
from ftlab.data.dataset import class_names
from ftlab.data.sources import tutorial_datasets
from ftlab.data.sources.tutorial_datasets import TutorialDataset
from ftlab.server.profile import ServerProfile
from ftlab.ui.common import data_choice, uploads
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.common.late_answers import LatestQuestions, format_question
from ftlab.ui.common.page_events import get_person, throttle_progress
from ftlab.ui.dataset import gallery_view, tutorial_picker, view
from ftlab.ui.dataset.source_actions import (
    SourceActions,
    build_names_menu,
    find_chosen_encoding,
    list_layout_choices,
    remember_choice,
    show_message,
)


class DatasetActions(SourceActions):
    """All event handlers of the tab. One instance per server: it holds nothing of any visitor.

    Handlers share these parameters: `sample` as in `DataSource`, `folder`
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
            sliders of fractions, Train button, saved choice, menus of layouts and of encodings of names, answered
            choice.
        """
        choice = (sample, folder, val, test)
        return self._answer_choice(request, choice, lambda: self._show_dataset(*choice, progress))

    def _answer_choice(
        self, request: gr.Request | None, choice: tuple[Any, ...], show_choice: Callable[[], list[Any]]
    ) -> list[Any]:
        """Return the outputs of a scan and what they answer; none if the page has chosen something else meanwhile."""
        return self._latest.answer_latest(request, choice, lambda: [*show_choice()[:-1], format_question(choice)])

    def _show_dataset(self, sample: str, folder: str, val: float, test: float, progress: gr.Progress) -> list[Any]:
        """Return the outputs of a scan, or a hint where nothing was chosen yet."""
        root = self.profile.start_folder
        if sample == data_choice.UPLOAD_SOURCE and not folder:
            return show_message(render_empty_state("dataset.send.choose", "dataset.send.choose_step"))
        if sample == data_choice.FOLDER_SOURCE and root is not None and folder.strip().rstrip("/\\") in ("", str(root)):
            # The path field starts with the root, and nobody wants the whole home folder scanned.
            return show_message(render_empty_state("dataset.choose", "dataset.choose_step"))
        if (
            sample == data_choice.TUTORIAL_SOURCE
            and folder in tutorial_datasets.DATASETS
            and not tutorial_datasets.find_image_folder(tutorial_datasets.get_dataset(folder))
        ):
            return show_message(render_empty_state("dataset.tutorial.choose", "dataset.tutorial.choose_step"))
        return self._scan_dataset(sample, folder, val, test, throttle_progress(progress), fresh=False)

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
        scan = partial(self._scan_dataset, sample, folder, val, test, throttle_progress(progress), fresh=True)
        return self._answer_choice(request, (sample, folder, val, test), scan)

    def receive_upload(
        self,
        zip_path: str | None,
        previous_token: str,
        val: float,
        test: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        request: gr.Request | None = None,
    ) -> list[Any]:
        """Unpack an uploaded zip and show its images.

        The zip itself is kept only as long as its upload, and only if the names in it do not say their encoding.

        Returns:
            Upload token, location, and the outputs of `show_dataset`.
        """
        previous_token = str(previous_token or "")
        if not zip_path:
            return [gr.skip()] * (2 + len(show_message(Markup(""))))
        # Only what Gradio stored is moved or removed: the handler may be called with any path.
        is_owned = Path(zip_path).resolve().is_relative_to(Path(get_upload_folder()).resolve())
        try:
            token = uploads.unpack_upload(
                self.profile,
                Path(zip_path),
                previous_token,
                name=Path(zip_path).stem,
                progress=throttle_progress(progress, "dataset.send.progress"),
                person=get_person(self.profile),
                is_owned=is_owned,
            )
        except FtlabError as error:
            return [gr.skip(), gr.skip(), *self._show_refusal(render_error(str(error)), previous_token, val, test)]
        finally:
            if is_owned:
                Path(zip_path).unlink(missing_ok=True)
        return [token, token, *self.show_dataset(data_choice.UPLOAD_SOURCE, token, val, test, progress, request)]

    def choose_name_encoding(
        self,
        sample: str,
        folder: str,
        val: float,
        test: float,
        zip_names: object,
        encodings: object,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        request: gr.Request | None = None,
    ) -> list[Any]:
        """Read the names in an archive that is here already in the encoding `zip_names`, "" to detect it.

        For archives that are given by their paths, the browser remembers the choice in `encodings`.

        Returns:
            Upload token, location, `encodings`, and the outputs of `show_dataset`; nothing new for the same encoding.
        """
        source_id, list_name, layout, _ = data_choice.split_location(folder)
        encoding = data_choice.validate_encoding(zip_names)
        if encoding == find_chosen_encoding(self.profile, sample, folder):
            return [gr.skip()] * (3 + len(show_message(Markup(""))))
        if sample != data_choice.UPLOAD_SOURCE:
            location = data_choice.join_location(source_id, list_name, layout, encoding)
            remembered = remember_choice(encodings, data_choice.make_exclusion_key(sample, source_id), encoding)
            return [gr.skip(), location, remembered, *self.show_dataset(sample, location, val, test, progress, request)]
        try:
            token = uploads.reread_upload(
                self.profile,
                source_id,
                encoding,
                progress=throttle_progress(progress, "dataset.send.progress"),
                person=get_person(self.profile),
            )
        except FtlabError as error:
            return [*[gr.skip()] * 3, *self._show_refusal(render_error(str(error)), source_id, val, test)]
        return [token, token, gr.skip(), *self.show_dataset(sample, token, val, test, progress, request)]

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
            report = reporters.setdefault(stage, throttle_progress(progress, f"dataset.tutorial.{stage}"))
            report(done_count // scale, max(1, total // scale))

        try:
            dataset = self._download_tutorial(str(dataset_name), report_stage)
        except FtlabError as error:
            return [gr.skip(), gr.skip(), gr.skip(), *show_message(render_error(str(error)))]
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
            return show_message(message)
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
            return show_message(render_error(str(error)))
        layout_menu = gr.Dropdown(list_layout_choices(), value=source.layout, visible=source.folder is not None)
        try:
            catalog = data_choice.scan_source(source, fresh=fresh, progress=progress)
        except FtlabError as error:
            # The menus stay: another reading of the folders or of the names may be the remedy.
            *outputs, _, _, answered_choice = show_message(render_error(str(error)))
            return [*outputs, layout_menu, build_names_menu(self.profile, source), answered_choice]
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
            build_names_menu(self.profile, source, catalog),
            gr.skip(),
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
