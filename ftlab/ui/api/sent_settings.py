"""Data sets and settings that a program names, as the page's form and Dataset tab would send them."""

from __future__ import annotations

import difflib
from typing import Any

from ftlab.config.train_config import FIELDS, SAMPLE_SET_NAMES, TrainConfig
from ftlab.core.errors import ConfigError, DataError
from ftlab.data.sources import tutorial_datasets
from ftlab.server.people import upload_tokens
from ftlab.server.people.lesson_rules import HANDED_PREFIX
from ftlab.server.profile import ServerProfile
from ftlab.ui.api.call_values import check_number, check_object, check_text
from ftlab.ui.api.sent_files import find_upload_file, read_location
from ftlab.ui.common import data_choice, init_choice, uploads
from ftlab.ui.common.data_choice import DataSource
from ftlab.ui.common.page_events import get_person
from ftlab.ui.train import form

DATA_NAMES = ("data", "val_share", "test_share")
"""Settings of `start` besides those of the form."""


def unpack_sent_zip(profile: ServerProfile, data: object) -> str:
    """Return what names a data set; of a zip that was uploaded, the token of its images, once it is unpacked.

    A zip that cannot be unpacked, or for which there is no space, gives a `DataError`.

    Args:
        profile: profile of the server.
        data: as it was sent.

    Returns:
        The text.

    Raises:
        ConfigError: it is no text, or an address.
    """  # noqa: DOC502 (`read_location` and `check_text` raise it)
    if isinstance(data, str) and data.startswith(HANDED_PREFIX):
        return data
    location = read_location(data if isinstance(data, dict) else check_text("data", data))
    zip_file = find_upload_file(location) if location else None
    if zip_file is None:
        return location
    try:
        return uploads.unpack_upload(profile, zip_file, name=zip_file.stem, person=get_person(profile), is_owned=True)
    finally:
        # The zip moves to its images where it is needed again.
        zip_file.unlink(missing_ok=True)


def parse_data(profile: ServerProfile, data: str, val_share: object = None, test_share: object = None) -> DataSource:
    """Return the data source that a text names; `data_choice.parse_source` decides whether this person may use it.

    Args:
        profile: profile of the server.
        data: a sample set, a tutorial's data set, what a teacher hands out, the token of an upload, or a path.
        val_share: fraction for validation where the layout has no such split; null: the default.
        test_share: fraction for the test split, likewise.

    Returns:
        The source.

    Raises:
        ConfigError: nothing is named, or a fraction is no number.
        DataError: the text has more than one line, or as `data_choice.parse_source` says.
    """
    shares = [
        FIELDS[name][1] if share is None else check_number(name, share)
        for name, share in (("val_share", val_share), ("test_share", test_share))
    ]
    if not data:
        raise ConfigError("call.no_data", names=", ".join(SAMPLE_SET_NAMES))
    if "\n" in data:  # further lines mean something else, see `data_choice.join_location`
        raise DataError("page.no_path", folder=data[:80])
    if data in SAMPLE_SET_NAMES or data.startswith(HANDED_PREFIX):
        return data_choice.parse_source(profile, data, "", *shares)
    if data in tutorial_datasets.DATASETS:
        return data_choice.parse_source(profile, data_choice.TUTORIAL_SOURCE, data, *shares)
    is_token = upload_tokens.parse_owner_part(data) is not None
    sample = data_choice.UPLOAD_SOURCE if is_token else data_choice.FOLDER_SOURCE
    return data_choice.parse_source(profile, sample, data, *shares)


def parse_settings(profile: ServerProfile, settings: object) -> tuple[DataSource, TrainConfig]:
    """Return data source and configuration of a training, as `TrainActions.parse_inputs` does for the form.

    A value that is not allowed gives an `FtlabError`.

    Args:
        profile: profile of the server.
        settings: `data`, and settings by name; what is missing is chosen as in the form.

    Returns:
        Data source and configuration.
    """
    values = dict(check_object("settings", settings))
    _check_names(values, [*DATA_NAMES, *form.list_field_names(is_space=profile.is_space)])
    data, val_share, test_share = (values.pop(name, None) for name in DATA_NAMES)
    source = parse_data(profile, unpack_sent_zip(profile, data), val_share, test_share)
    config = form.parse_config(
        values, is_space=profile.is_space, limit_minutes=profile.max_minutes, **source.to_config_fields()
    )
    return source, init_choice.resolve_init(profile, config)


def _check_names(values: dict[str, Any], known_names: list[str]) -> None:
    """Check that all settings exist: the form would leave out the others.

    Raises:
        ConfigError: one does not.
    """
    unknown_name = next((name for name in values if name not in known_names), None)
    if unknown_name is not None:
        matches = difflib.get_close_matches(unknown_name, known_names, cutoff=0.4) or known_names
        raise ConfigError("call.setting", name=unknown_name[:80], names=", ".join(matches[:20]))
