"""The Hugging Face Hub: addresses `hf://USER/NAME[@REVISION]`, files of models, and its errors as one line.

`huggingface_hub` is imported only when the Hub is asked. A token is the caller's, or that which `huggingface_hub` finds
(`HF_TOKEN`, the login of this machine's user); nothing here stores one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftlab.core.errors import FtlabError, WeightsError

HUB_SCHEME = "hf://"
_ADDRESS_PATTERN = re.compile(r"hf://([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?/?", re.ASCII)
_WEIGHTS_NAMES = ("model.safetensors", "pytorch_model.bin")
"""Weights in a repository; the first that exists is taken, and the second is read without running code in it."""
_SIDE_NAMES = ("config.json", "model.json")
"""Files with the names of classes, which are found beside the weights."""
_STATUS_CODES = {401: "hub.unauthorized", 403: "hub.forbidden", 404: "hub.missing", 429: "hub.busy"}


class HubError(FtlabError):
    """The Hub has refused something, or cannot be reached."""


@dataclass(frozen=True)
class HubAddress:
    """A model on the Hub.

    Attributes:
        repo_id: `USER/NAME`.
        revision: branch, tag or commit; empty for the newest.
    """

    repo_id: str
    revision: str = ""

    def __str__(self) -> str:
        """Return the address as a person writes it."""
        return f"{HUB_SCHEME}{self.repo_id}" + (f"@{self.revision}" if self.revision else "")


def is_hub_address(text: str) -> bool:
    """Return whether a text is meant as an address on the Hub."""
    return text.lower().startswith(HUB_SCHEME)


def parse_address(text: str) -> HubAddress:
    """Parse `hf://USER/NAME[@REVISION]`.

    Args:
        text: as a person wrote it.

    Returns:
        The address.

    Raises:
        WeightsError: it is none.
    """
    match = _ADDRESS_PATTERN.fullmatch(text.strip())
    if match is None:
        raise WeightsError("hub.address", address=text)
    return HubAddress(match[1], match[2] or "")


def download_model(address: HubAddress) -> tuple[Path, HubAddress]:
    """Download the weights of a repository into the cache of the Hub; what is there already is not downloaded.

    Without a network, the newest version in the cache is taken.

    Args:
        address: of the repository.

    Returns:
        The weights file, with the files that name the classes beside it; and the address with the commit.

    Raises:
        WeightsError: the repository has no weights, or is neither here nor can be downloaded.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    options: dict[str, Any] = {"revision": address.revision or None}
    with translate_hub_errors(str(address), WeightsError):
        for weights_name in _WEIGHTS_NAMES:
            try:
                weights_file = Path(hf_hub_download(address.repo_id, weights_name, **options))
            # Only a missing file leads to the next name; any other error is the download's.
            except RemoteEntryNotFoundError:
                continue
            # The commit of the weights: a push in between changes nothing.
            commit = weights_file.parent.name
            for side_name in _SIDE_NAMES:
                try:
                    hf_hub_download(address.repo_id, side_name, revision=commit)
                except (RemoteEntryNotFoundError, LocalEntryNotFoundError):  # not there, or never cached
                    continue
            return weights_file, HubAddress(address.repo_id, commit)
    raise WeightsError("hub.no_weights", address=address, names=", ".join(_WEIGHTS_NAMES))


def check_repo_id(repo_id: str) -> None:
    """Check that a name can be that of a repository of an account.

    Args:
        repo_id: `USER/NAME`.

    Raises:
        HubError: it cannot.
    """
    from huggingface_hub.utils._validators import validate_repo_id

    with translate_hub_errors(repo_id):
        validate_repo_id(repo_id)
    if repo_id.count("/") != 1:
        raise HubError("hub.name", name=repo_id)


def find_token(token: str | None = None) -> str:
    """Return the token to push with.

    Args:
        token: the caller's; None for that of this machine's user.

    Returns:
        The token.

    Raises:
        HubError: there is none, or it has characters that no token has. The client would quote those in its error.
    """
    from huggingface_hub import get_token

    usable_token = get_token() if token is None else token
    if not usable_token:
        raise HubError("hub.no_token")
    if not (usable_token.isascii() and usable_token.isprintable()) or " " in usable_token:
        raise HubError("hub.bad_token")
    return usable_token


@contextmanager
def translate_hub_errors(subject: str, error_type: type[FtlabError] = HubError) -> Iterator[None]:
    """Raise errors of the Hub's client as one of ours; no text of the client is passed on, which may quote a request.

    Args:
        subject: repository that the sentence names.
        error_type: of the error.

    Raises:
        error_type: the Hub refuses, or cannot be reached.
    """  # noqa: DOC502 (the type is an argument)
    from huggingface_hub import errors

    # The base class that it shares with the errors of the HTTP library below, whichever it is.
    http_errors: Any = errors.HfHubHTTPError.__bases__
    try:
        yield
    except errors.HFValidationError as cause:
        raise error_type("hub.name", name=subject) from cause
    except errors.RevisionNotFoundError as cause:
        raise error_type("hub.revision", name=subject) from cause
    except errors.GatedRepoError as cause:
        raise error_type("hub.gated", name=subject) from cause
    except errors.RepositoryNotFoundError as cause:
        # The Hub answers 401 to whoever may not see a repository, as if there were none.
        raise error_type("hub.missing", name=subject) from cause
    except errors.HfHubHTTPError as cause:
        status = cause.response.status_code
        raise error_type(_STATUS_CODES.get(status, "hub.status"), name=subject, status=status) from cause
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as cause:
        raise error_type("hub.offline", name=subject) from cause
    except (*http_errors, ConnectionError) as cause:
        raise error_type("hub.offline", name=subject) from cause
