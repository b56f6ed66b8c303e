"""What the Dataset tab does, without its components: look at pictures, take a zip, fetch a set, find a folder.

Every event sends the choice along and gets what it shows from the scan of that choice, which the server keeps: so
nothing of it lives in a session, and a restarted server only looks again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from ftlab.config.train_config import SAMPLE_SET_NAMES
from ftlab.core import messages
from ftlab.core.errors import DataError, FtlabError
from ftlab.core.html import Markup, join_html, tag
from ftlab.data.dataset import class_names, exclusions
from ftlab.data.sources import locate, tutorial_datasets
from ftlab.ui.common import data_choice, uploads
from ftlab.ui.common.access import MAX_UPLOAD_BYTES, ServerProfile, resolve_inside
from ftlab.ui.common.html import render_empty_state, render_error
from ftlab.ui.common.latest_only import LatestQuestions
from ftlab.ui.dataset import folder_browser, tutorial_picker, view


class DatasetActions:
    """The handlers. One a server: it holds the profile and nothing of any visitor."""

    def __init__(self, profile: ServerProfile) -> None:
        self.profile = profile
        self._latest = LatestQuestions()

    # --- looking at the pictures

    def show_dataset(
        self,
        sample: str,
        folder: str,
        val: float,
        test: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        request: gr.Request | None = None,
    ) -> list[Any]:
        """What the tab shows of a choice, as scanned before if it was. Values for `shown` in `dataset.build`."""
        choice = (sample, folder, val, test)
        return self._latest.answer_latest(request, choice, lambda: self._show_dataset(*choice, progress))

    def _show_dataset(self, sample: str, folder: str, val: float, test: float, progress: gr.Progress) -> list[Any]:
        root = self.profile.data_root
        if sample == data_choice.UPLOAD_SOURCE and not folder:
            return _show_message(render_empty_state("dataset.send.choose", "dataset.send.choose_step"))
        if sample == data_choice.FOLDER_SOURCE and root is not None and folder.strip().rstrip("/\\") in ("", str(root)):
            return _show_message(
                render_empty_state("dataset.choose", "dataset.choose_step")
            )  # nobody wants the home folder scanned
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
        """The same, the files looked at again: they may have been mended."""
        scan = partial(self._scan_dataset, sample, folder, val, test, _throttle_progress(progress), fresh=True)
        return self._latest.answer_latest(request, (sample, folder, val, test), scan)

    def receive_upload(
        self,
        zip_path: str | None,
        previous_token: str,
        val: float,
        test: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        request: gr.Request | None = None,
    ) -> list[Any]:
        """A zip that was sent, unpacked and looked at; the zip itself is not kept. For `sent`, `place`, and `shown` in
        `dataset.build`."""
        previous_token = str(previous_token or "")
        if not zip_path:
            return [gr.skip()] * (2 + len(_show_message(Markup(""))))
        try:
            name, report_progress = Path(zip_path).stem, _throttle_progress(progress, "dataset.send.progress")
            token = uploads.unpack_upload(
                self.profile, Path(zip_path), previous_token, name=name, progress=report_progress
            )
        except FtlabError as error:
            return [gr.skip(), gr.skip(), *self._show_refusal(render_error(str(error)), previous_token, val, test)]
        finally:
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
        """A tutorial's data set, downloaded unless it is here, and looked at. For the menu, its button, `place`, and
        `outputs` in `dataset.build`."""
        reporters: dict[str, Callable[[int, int], None]] = {}

        def report_stage(stage: str, done_count: int, total: int) -> None:
            scale = 1 if stage == "unpack" else 1_000_000
            report = reporters.setdefault(stage, _throttle_progress(progress, f"dataset.tutorial.{stage}"))
            report(done_count // scale, max(1, total // scale))

        try:
            dataset = tutorial_datasets.get_dataset(str(dataset_name))
            if not self.profile.is_local and not tutorial_datasets.find_image_folder(dataset):
                raise DataError("page.no_fetch")
            tutorial_datasets.fetch_dataset(dataset, progress=report_stage)
        except FtlabError as error:
            return [gr.skip(), gr.skip(), gr.skip(), *_show_message(render_error(str(error)))]
        outputs = self.show_dataset(data_choice.TUTORIAL_SOURCE, dataset.name, val, test, progress)
        menu = gr.Dropdown(choices=tutorial_picker.list_dataset_choices(self.profile), value=dataset.name)
        return [menu, gr.Button(tutorial_picker.format_button_text(dataset.name)), dataset.name, *outputs]

    def choose_tutorial(self, dataset_name: str) -> list[Any]:
        """A set of the menu was chosen: what it is, and what its button does."""
        if dataset_name not in tutorial_datasets.DATASETS:
            return [gr.skip(), gr.skip()]
        return [
            tutorial_picker.render_dataset_info(dataset_name),
            gr.Button(tutorial_picker.format_button_text(dataset_name)),
        ]

    def _show_refusal(self, message: Markup, previous_token: str, val: float, test: float) -> list[Any]:
        """A refusal above what was sent before it and is still chosen, if that is there. Values for `shown`."""
        try:
            uploads.find_upload(previous_token)
        except FtlabError:
            return _show_message(message)
        summary, *other_outputs = self._scan_dataset(
            data_choice.UPLOAD_SOURCE, previous_token, val, test, lambda *_: None, fresh=False
        )
        return [join_html([message, summary]), *other_outputs]

    def _scan_dataset(
        self, sample: str, folder: str, val: float, test: float, progress: Callable[[int, int], None], *, fresh: bool
    ) -> list[Any]:
        try:
            source = data_choice.parse_source(self.profile, sample, folder, val, test)
            catalog = data_choice.scan_source(source, fresh=fresh, progress=progress)
        except FtlabError as error:
            return _show_message(render_error(str(error)))
        splits = view.list_splits(catalog)
        class_titles = class_names.find_display_names(catalog.root, catalog.classes)
        return [
            view.render_summary(catalog, source),
            view.render_problems(catalog),
            gr.Column(visible=True),
            gr.Dropdown(
                [
                    (messages.get_text("dataset.all_classes"), view.ALL_CHOICE),
                    *(
                        (messages.escape_control_chars(class_names.get_display_name(name, class_titles)), name)
                        for name in catalog.classes
                    ),
                ],
                value=view.ALL_CHOICE,
            ),
            gr.Radio(
                [
                    (messages.get_text("dataset.all_splits"), view.ALL_CHOICE),
                    *((messages.get_text(f"dataset.split.{split}"), split) for split in splits),
                ],
                value=view.ALL_CHOICE,
            ),
            0,
            view.render_gallery(catalog, view.ALL_CHOICE, view.ALL_CHOICE, 0),
            gr.Slider(visible="val" in catalog.random_splits),
            gr.Slider(visible="test" in catalog.random_splits),
            gr.Button(interactive=True),
            {"sample": sample, "folder": folder, "val": val, "test": test},
        ]

    def show_first_page(
        self, sample: str, folder: str, val: float, test: float, class_name: str, split: str
    ) -> list[Any]:
        """The first page of a class and a split."""
        return self._show_page(sample, folder, val, test, class_name, split, 0)

    def show_next_page(
        self, sample: str, folder: str, val: float, test: float, class_name: str, split: str, page: float | None
    ) -> list[Any]:
        """The next page."""
        return self._show_page(sample, folder, val, test, class_name, split, int(page or 0) + 1)

    def _show_page(
        self, sample: str, folder: str, val: float, test: float, class_name: str, split: str, page: int
    ) -> list[Any]:
        try:
            catalog = data_choice.scan_source(data_choice.parse_source(self.profile, sample, folder, val, test))
        except FtlabError as error:
            return [0, render_error(str(error))]
        return [page, view.render_gallery(catalog, class_name, split, max(page, 0))]

    # --- finding a folder

    def restore_choice(self, saved_choice: object, upload_token: object = "") -> list[Any]:
        """The choice that the browser kept, as far as it still makes sense: for sample, folder, place, shares, `ways`,
        set.

        Args:
            saved_choice: what `_scan_dataset` gave it.
            upload_token: name of what was sent last.
        """
        choice = saved_choice if isinstance(saved_choice, dict) else {}
        sample, (folder, list_name) = choice.get("sample"), data_choice.split_location(choice.get("folder"))
        if sample not in list_offered_sources(self.profile):
            return [gr.skip()] * 11
        typed_folder = folder if sample == data_choice.FOLDER_SOURCE else ""
        tutorial_name = folder if sample == data_choice.TUTORIAL_SOURCE and folder in tutorial_datasets.DATASETS else ""
        source_id = str(upload_token or "") if sample == data_choice.UPLOAD_SOURCE else tutorial_name or typed_folder
        return [
            sample,
            typed_folder or gr.skip(),
            data_choice.join_location(source_id, list_name if exclusions.find_exclusion_list(list_name) else ""),
            data_choice.clamp_share("val_share", choice.get("val")),
            data_choice.clamp_share("test_share", choice.get("test")),
            *self.open_source_inputs(sample, typed_folder),
            tutorial_name or gr.skip(),
        ]

    def open_source_inputs(self, sample: str, folder: str) -> list[Any]:
        """The way to a folder is shown where a folder is wanted, the field for a zip where a zip is: for `ways`."""
        shows_browser = sample == data_choice.FOLDER_SOURCE and self.profile.data_root is not None
        return [
            render_source_info(sample, self.profile),
            gr.Column(visible=shows_browser),
            self.render_listing(folder) if shows_browser else "",
            gr.Column(visible=sample == data_choice.UPLOAD_SOURCE),
            gr.Column(visible=sample == data_choice.TUTORIAL_SOURCE),
        ]

    def render_listing(self, typed_path: str) -> Markup:
        """Sub-folders that what is typed could become."""
        root = self.profile.data_root
        if root is None:
            return Markup("")
        try:
            return view.render_listing(folder_browser.list_folder(root, str(typed_path or "")), root)
        except FtlabError:  # looking at the pictures says what is wrong; here is the way on
            return view.render_listing(folder_browser.list_folder(root, ""), root)

    def pick_folder(self, event: gr.EventData) -> list[Any]:
        """A folder, a zip or a list of the shelf was chosen: for the path field and the shelf."""
        root, path = self.profile.data_root, str(event._data.get("folder", ""))
        if root is None:
            return [gr.skip(), ""]
        try:
            if locate.is_dataset_file(resolve_inside(root, path)):
                return [path, self.render_listing(path)]
            listing = folder_browser.list_folder(root, path + os.sep)
        except FtlabError:
            return [gr.skip(), self.render_listing("")]
        return [f"{Path(listing.folder)}{os.sep}", view.render_listing(listing, root)]


def list_offered_sources(profile: ServerProfile) -> list[str]:
    """The kinds of pictures that can be chosen on this server."""
    tutorial_sources = [data_choice.TUTORIAL_SOURCE] if tutorial_picker.list_offered_datasets(profile) else []
    own_sources = (
        [data_choice.FOLDER_SOURCE, data_choice.UPLOAD_SOURCE] if profile.data_root else [data_choice.UPLOAD_SOURCE]
    )
    return [*SAMPLE_SET_NAMES, *tutorial_sources, *own_sources]


def render_source_info(sample: str, profile: ServerProfile) -> Markup:
    """What the chosen set is good for, or what becomes of what is sent."""
    hours = uploads.get_retention_seconds(profile) / 3600
    unit = "hours" if hours < 48 else "days"
    retention = messages.get_text(f"dataset.send.{unit}", count=f"{hours if hours < 48 else hours / 24:.0f}")
    message = messages.get_text(f"dataset.about.{sample}", lasts=retention, limit=MAX_UPLOAD_BYTES >> 20)
    return tag("p", message, class_="ftlab-about")


def _show_message(message: Markup) -> list[Any]:
    """Nothing to show but a sentence; what the person chose and typed stays. Values for `shown` in `dataset.build`."""
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
    ]


def _throttle_progress(progress: gr.Progress, message_key: str = "dataset.progress") -> Callable[[int, int], None]:
    """Progress on the page, ten times a second at most; `message_key` is the sentence's."""
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
