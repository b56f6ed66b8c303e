"""Push of a run's model to the Hugging Face Hub.

The token is the caller's or that which `huggingface_hub` finds (`HF_TOKEN`, the login of this machine's user). It goes
into the client and nowhere else: into no file, log or error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ftlab.core import file_io, interruption
from ftlab.export.export_run import CARD_FILE_NAME, ExportResult, FailedCheckError, export_run
from ftlab.export.formats import ExportFormat, ExportOptions
from ftlab.models.pretrained.hub_access import HubError, check_repo_id, find_token, translate_hub_errors
from ftlab.runs.directory import Run

_CARD_PLACEHOLDER = "USER/NAME"
"""Stands in a card for the repository, which only a push knows."""


@dataclass(frozen=True)
class PushResult:
    """A push that was made.

    Attributes:
        repo_id: `USER/NAME`.
        url: of the repository.
        commit: 40 hex digits.
        export: what was pushed, with its check; its path is gone.
    """

    repo_id: str
    url: str
    commit: str
    export: ExportResult


def push_run(
    run: Run,
    export_format: ExportFormat,
    repo_id: str,
    *,
    token: str | None = None,
    private: bool = False,
    options: ExportOptions | None = None,
    weights_choice: str = "best",
    check: bool = True,
    progress: Callable[[int, int], None] = lambda _completed, _total: None,
    on_upload: Callable[[int], None] = lambda _byte_count: None,
) -> PushResult:
    """Export the model of a run and push the files to a repository or Space, which is created if it does not exist.

    Errors of the export propagate; nothing is pushed then. Files of the repository that the export does not have stay.

    Args:
        run: with weights; it may still be in training.
        export_format: of the files.
        repo_id: `USER/NAME`.
        token: of an account that may write there; None for this machine's own.
        private: create the repository as a private one; an existing one stays as it is.
        options: of the format; None for its own.
        weights_choice: `best` or `last`.
        check: compare the exported model with the trained one.
        progress: called as images are compared.
        on_upload: called before the upload, with the number of bytes of all files.

    Returns:
        What was pushed.

    Raises:
        HubError: the name is none, there is no token, the check fails, or the Hub refuses.
    """
    check_repo_id(repo_id)
    usable_token = find_token(token)
    with interruption.temporary_folder("ftlab-push-") as work_folder:
        folder = work_folder / "files"
        try:
            result = export_run(
                run,
                export_format,
                folder,
                options or ExportOptions(),
                weights_choice=weights_choice,
                check=check,
                progress=progress,
            )
        except FailedCheckError as error:
            raise HubError("hub.check", **error.values) from error
        _name_repository(folder, repo_id)
        on_upload(file_io.get_folder_size(folder))
        url, commit = push_folder(folder, repo_id, usable_token, private=private, space_sdk=export_format.space_sdk)
    return PushResult(repo_id, url, commit, result)


def _name_repository(folder: Path, repo_id: str) -> None:
    """Write the repository's name into its card.

    Args:
        folder: of the files.
        repo_id: `USER/NAME`.
    """
    card_file = folder / CARD_FILE_NAME
    if card_file.is_file():
        card_text = card_file.read_text(encoding="utf-8").replace(_CARD_PLACEHOLDER, repo_id)
        card_file.write_text(card_text, encoding="utf-8")


def push_folder(
    folder: Path, repo_id: str, token: str, *, private: bool = False, repo_type: str = "model", space_sdk: str = ""
) -> tuple[str, str]:
    """Push all files of a folder.

    Args:
        folder: with the files.
        repo_id: `USER/NAME`.
        token: of an account that may write there.
        private: create the repository as a private one.
        repo_type: `model` or `dataset`.
        space_sdk: `gradio` or `static` for a Space; else empty.

    Returns:
        Address of the repository, and the commit.

    Raises:
        HubError: the Hub refuses, or cannot be reached.
    """  # noqa: DOC502 (`translate_hub_errors` raises it)
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    repo_type = "space" if space_sdk else repo_type
    with translate_hub_errors(repo_id):
        repository = api.create_repo(
            repo_id, private=private or None, repo_type=repo_type, space_sdk=space_sdk or None, exist_ok=True
        )
        commit = api.upload_folder(
            repo_id=repo_id, folder_path=folder, repo_type=repo_type, commit_message="Upload by ftlab"
        )
    return str(repository), str(commit.oid)
