"""Uploaded zips: unpacked, found again by the visitor who sent them, removed when no longer used. Imports no gradio.

Each upload lies in a folder of its own below `FTLAB_HOME/visitors`. Its name is a token of 128 random bits, known only
to the page that sent it: without the token it cannot be named, and there is no list. The token ends with a part of its
owner's digest (`run_quota.make_owner`), so that it is of no use to anybody else either.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ftlab.core import user_dirs
from ftlab.core.errors import DataError, RunError
from ftlab.data.sources import archive
from ftlab.data.sources.archive_entries import ArchiveLimits
from ftlab.data.sources.archive_writing import UnpackProgress
from ftlab.runs import run_store
from ftlab.runs.directory import Run
from ftlab.server.paths import get_visitors_dir, resolve_inside
from ftlab.server.people import upload_tokens
from ftlab.server.people.lesson_rules import LessonRules
from ftlab.server.people.person import Person
from ftlab.server.profile import ServerProfile
from ftlab.server.upload_quota import UPLOAD_QUOTA_BYTES, VISITOR_QUOTA_BYTES, QuotaExceededError, UploadQuota

RETENTION_SECONDS, SPACE_RETENTION_SECONDS = 7 * 86400.0, 6 * 3600.0
"""Seconds for which an unused upload is kept, normally and on a public Space."""
UNPACK_LIMITS = ArchiveLimits(max_entries=50_000, max_bytes=2 << 30)
SPACE_UNPACK_LIMITS = ArchiveLimits(max_entries=20_000, max_bytes=512 << 20)
"""Limits on the content of a zip, normally (`UNPACK_LIMITS`) and on a public Space."""

_KEPT_ZIP_NAME = ".ftlab-upload.zip"
"""Zip beside the folder of its images, kept where the names in it do not say their encoding."""
_UNPACK_LOCK = threading.Lock()
"""One upload is unpacked at a time, so that the free space measured before it still holds."""


def get_retention_seconds(profile: ServerProfile) -> float:
    """Return the seconds for which an unused upload is kept."""
    return SPACE_RETENTION_SECONDS if profile.is_space else RETENTION_SECONDS


def open_upload_quota(profile: ServerProfile) -> UploadQuota:
    """Return the limits on the uploads of a server, which requests and unpacking share."""
    return UploadQuota(
        Path(os.environ["GRADIO_TEMP_DIR"]) if os.environ.get("GRADIO_TEMP_DIR") else None,
        get_visitors_dir(),
        quota_bytes=UPLOAD_QUOTA_BYTES,
        # Whoever is alone with the server shares with nobody.
        visitor_quota_bytes=None if profile.is_local else VISITOR_QUOTA_BYTES,
    )


def unpack_upload(
    profile: ServerProfile,
    zip_file: Path,
    previous_token: object = None,
    *,
    name: str | None = None,
    name_encoding: str = "",
    progress: UnpackProgress | None = None,
    person: Person,
    is_owned: bool = False,
) -> str:
    """Unpack an uploaded zip, after removing expired uploads.

    Propagates `DataError` where the zip cannot be unpacked.

    Args:
        profile: profile of this server.
        zip_file: the zip.
        previous_token: token of the same page's earlier upload, which is removed unless a training reads it.
        name: the visitor's name for the zip.
        name_encoding: encoding of the names in it; empty: it is detected.
        progress: called with the number of files written and the total.
        person: who has sent it: it counts towards their share of the space, and belongs to them.
        is_owned: whether the zip may be moved beside its images, so that the names can be read in another encoding
            (`reread_upload`). It counts towards the limits there as where it was.

    Returns:
        The token of the upload.

    Raises:
        DataError: the uploads of all visitors leave no space for it.
    """
    limits = SPACE_UNPACK_LIMITS if profile.is_space else UNPACK_LIMITS
    with _UNPACK_LOCK:
        remove_expired_uploads(profile)
        token = upload_tokens.make_token(person.owner)
        # What exceeds the limits is refused by its own message.
        content_bytes = min(archive.measure_content(zip_file, limits), limits.max_bytes)
        try:
            # After expired uploads were removed. Files that arrive meanwhile do not get the same space.
            with open_upload_quota(profile).reserve(content_bytes, person.id) as reservation:
                archive.unpack_archive(
                    zip_file,
                    get_visitors_dir() / token,
                    limits,
                    folder_name=name,
                    name_encoding=name_encoding,
                    progress=progress,
                )
                reservation.is_used = True
                if is_owned and any(archive.read_name_encodings(get_visitors_dir() / token)):
                    _keep_zip(zip_file, get_visitors_dir() / token)
        except QuotaExceededError as refusal:
            raise DataError(f"page.{refusal.message_key}") from refusal
    _remove_previous(profile, previous_token, person)
    return token


def _remove_previous(profile: ServerProfile, previous_token: object, person: Person) -> None:
    """Remove an earlier upload of a person unless a training reads it; its token is sent by the page, so anything."""
    if (
        # Only a well-formed token may become part of a path that is removed.
        isinstance(previous_token, str)
        and _is_own_token(previous_token, person)
        and get_visitors_dir() / previous_token not in _find_used_uploads(profile)
    ):
        shutil.rmtree(get_visitors_dir() / previous_token, ignore_errors=True)


def _keep_zip(zip_file: Path, upload_dir: Path) -> None:
    """Move a zip beside its images; if the disk does not hold it, it has to be sent again for another encoding."""
    kept_zip = upload_dir / _KEPT_ZIP_NAME
    try:
        shutil.move(zip_file, kept_zip)
    except OSError:  # from another disk it is copied
        kept_zip.unlink(missing_ok=True)


def reread_upload(
    profile: ServerProfile,
    token: str,
    name_encoding: str,
    *,
    progress: UnpackProgress | None = None,
    person: Person,
) -> str:
    """Unpack the zip of an upload again, with its names in another encoding.

    Propagates `DataError` where the names are not in that encoding; the upload then stays as it is.

    Args:
        profile: profile of this server.
        token: of the upload; it is removed unless a training reads it.
        name_encoding: as for `unpack_upload`.
        progress: as for `unpack_upload`.
        person: who asks; see `find_upload`.

    Returns:
        The token of the new upload.

    Raises:
        DataError: there is no such upload, or its zip was not kept.
    """
    image_folder = find_upload(token, person)
    zip_file = image_folder.with_name(_KEPT_ZIP_NAME)
    if not is_zip_kept(image_folder):
        raise DataError("page.zip_gone")
    return unpack_upload(
        profile,
        zip_file,
        token,
        name=image_folder.name,
        name_encoding=name_encoding,
        progress=progress,
        person=person,
        is_owned=True,
    )


def is_zip_kept(image_folder: Path) -> bool:
    """Return whether the zip of an upload is still there, so that the names in it can be read in another encoding."""
    return image_folder.with_name(_KEPT_ZIP_NAME).is_file()


def read_chosen_encoding(image_folder: Path) -> str:
    """Return the encoding in which the names of an upload were asked to be read; empty: it was detected."""
    return archive.read_name_encodings(image_folder.parent)[0]


def find_upload(token: str, person: Person) -> Path:
    """Return the image folder of an upload; this counts as use.

    Args:
        token: token of the upload.
        person: who asks for it.

    Returns:
        The folder.

    Raises:
        DataError: there is no such upload, it was removed, or it is somebody else's.
    """
    if not token:
        raise DataError("page.no_upload")
    upload_dir = get_visitors_dir() / token
    try:
        if not _is_own_token(token, person) or not upload_dir.is_dir():
            raise DataError("page.upload_gone")
        # The modification time is that of the last use, see `remove_expired_uploads`.
        os.utime(upload_dir)
        return archive.find_image_folder(upload_dir)
    except OSError as cause:
        raise DataError("page.upload_gone") from cause


def find_handed_data(profile: ServerProfile, name: str) -> Path:
    """Return the images that a teacher hands to all; this counts as use of an upload.

    Args:
        profile: profile of this server.
        name: name of the data set, as a page sent it.

    Returns:
        The folder, or a zip or a list in the data root.

    Raises:
        DataError: it is not handed out any more, or was removed.
    """
    dataset = LessonRules(profile.runs_dir).find_handed(name)
    if not dataset.upload:
        return resolve_inside(profile.data_root, dataset.folder)
    try:
        os.utime(get_visitors_dir() / dataset.upload)
        return archive.find_image_folder(get_visitors_dir() / dataset.upload)
    except OSError as cause:
        raise DataError("page.upload_gone") from cause


def _is_own_token(token: str, person: Person) -> bool:
    """Return whether a text is a token that the person may use: their own, and a teacher any."""
    owner_part = upload_tokens.parse_owner_part(token)
    return owner_part is not None and (person.leads or owner_part == upload_tokens.get_owner_part(person.owner))


def remove_expired_uploads(profile: ServerProfile) -> None:
    """Remove uploads unused for longer than they are kept, and folders that a killed server left half unpacked."""
    if not get_visitors_dir().is_dir():
        return
    # Archives are unpacked into a draft folder that is renamed at the end.
    user_dirs.remove_stale_drafts(get_visitors_dir())
    used_dirs = _find_used_uploads(profile)
    for upload_dir in get_visitors_dir().iterdir():
        try:
            idle_seconds = time.time() - upload_dir.stat().st_mtime
        except OSError:  # gone in the meantime
            continue
        if (
            upload_tokens.parse_owner_part(upload_dir.name)
            and idle_seconds > get_retention_seconds(profile)
            and upload_dir not in used_dirs
        ):
            shutil.rmtree(upload_dir, ignore_errors=True)


def _find_used_uploads(profile: ServerProfile) -> set[Path]:
    """Return the folders of uploads that a training reads now, and of those that are handed to all."""
    handed_tokens = {entry.upload for entry in LessonRules(profile.runs_dir).read().handed if entry.upload}
    active_runs = run_store.find_active_runs(profile.runs_dir)
    read_tokens = {token for run in active_runs for token in _list_upload_tokens(run)}
    return {get_visitors_dir() / token for token in handed_tokens | read_tokens}


def _list_upload_tokens(run: Run) -> Iterator[str]:
    """Yield the name of the folder above a run's data folder, which is a token where the data is an upload.

    Yields:
        The name, if any.
    """
    try:
        # The data of such a run is `<token>/<folder of the zip>`.
        yield from Path(run.load_config().data).parts[-2:-1]
    except RunError:
        return
