"""Push of a data set to the Hugging Face Hub: private unless it is asked for otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ftlab.data.dataset.catalog import Catalog
from ftlab.export.export_run import CARD_FILE_NAME
from ftlab.export.hub import data_files
from ftlab.export.hub.data_files import DataFiles
from ftlab.models.pretrained.hub_access import HubError, check_repo_id, find_token, translate_hub_errors

_COMMIT_IMAGES = 500
"""Images of a commit, at most: the Hub answers larger ones too late."""


@dataclass(frozen=True)
class DataPushResult:
    """A push that was made.

    Attributes:
        url: of the repository.
        commit: the last one, 40 hex digits.
        is_private: whether only the account and those whom it lets in see the repository.
    """

    url: str
    commit: str
    is_private: bool


def push_data(
    catalog: Catalog,
    files: DataFiles,
    repo_id: str,
    *,
    token: str | None = None,
    public: bool = False,
    progress: Callable[[int, int], None] = lambda _completed, _total: None,
) -> DataPushResult:
    """Push the images of a data set to a data set repository, which is created if it does not exist.

    Images that are there already are not sent again, so that a push that was broken off goes on. Other files of the
    repository stay, but for its card.

    Args:
        catalog: of the scan.
        files: of `data_files.list_data_files`.
        repo_id: `USER/NAME`.
        token: of an account that may write there; None for this machine's own.
        public: everybody may see the images. Else a public repository is refused.
        progress: called as images are sent.

    Returns:
        What was pushed.

    Raises:
        HubError: the name is none, there is no token, images for everybody say where they were taken, the repository
            is public, or the Hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    check_repo_id(repo_id)
    api = HfApi(token=find_token(token))
    located = data_files.find_located_images(files.paths.values()) if public else []
    if located:
        raise HubError("hub.located", count=len(located), file=located[0])
    card = data_files.build_data_card(files, catalog.root.name, repo_id).encode()
    with translate_hub_errors(repo_id):
        url = api.create_repo(repo_id, private=not public, repo_type="dataset", exist_ok=True)
        is_private = bool(api.dataset_info(repo_id).private)
        if not is_private and not public:
            raise HubError("hub.public", name=repo_id)
        paths = list(files.paths)
        for start in range(0, len(paths), _COMMIT_IMAGES):
            chosen_paths = paths[start : start + _COMMIT_IMAGES]
            operations = [CommitOperationAdd(path, files.paths[path]) for path in chosen_paths]
            if start + _COMMIT_IMAGES >= len(paths):  # the card last: without it the repository is unfinished
                operations.append(CommitOperationAdd(CARD_FILE_NAME, card))
            commit = api.create_commit(
                repo_id, operations, repo_type="dataset", commit_message=f"Upload {len(chosen_paths)} images by ftlab"
            )
            progress(start + len(chosen_paths), len(paths))
    return DataPushResult(str(url), str(commit.oid), is_private)
