"""The Hugging Face Hub: addresses `hf://USER/NAME[@REVISION]`, files of models, and its errors as one line.

`huggingface_hub` is imported only when the Hub is asked. A token is the caller's, or that which `huggingface_hub` finds
(`HF_TOKEN`, the login of this machine's user); nothing here stores one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.core.errors import FtlabError, WeightsError

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

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
    kind = next((kind for kind in ("dataset", "space") if text.strip().startswith(f"{HUB_SCHEME}{kind}s/")), "")
    if kind:
        raise WeightsError(f"hub.is_{kind}", address=text.strip())
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
    """  # noqa: DOC501 (what is raised inside is translated)
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    with translate_hub_errors(str(address), WeightsError):
        try:
            weights_file = _download_weights(address)
        except RepositoryNotFoundError as error:
            kind = "" if isinstance(error, GatedRepoError) else _find_other_kind(address.repo_id)
            if kind:
                raise WeightsError(f"hub.is_{kind}", address=address) from error
            raise
        # The commit of the weights: a push in between changes nothing.
        commit = weights_file.parent.name
        _download_side_files(address.repo_id, commit)
        return weights_file, HubAddress(address.repo_id, commit)


def _download_weights(address: HubAddress) -> Path:
    """Download the first file of weights that a repository has.

    Args:
        address: of the repository.

    Returns:
        The file in the cache.

    Raises:
        LocalEntryNotFoundError: the Hub cannot be reached, and the cache has none.
        WeightsError: the repository has none.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RemoteEntryNotFoundError

    options: dict[str, Any] = {"revision": address.revision or None}
    unreachable: LocalEntryNotFoundError | None = None
    for weights_name in _WEIGHTS_NAMES:
        try:
            return Path(hf_hub_download(address.repo_id, weights_name, **options))
        except RemoteEntryNotFoundError:
            continue
        except LocalEntryNotFoundError as error:
            if isinstance(error.__cause__, HfHubHTTPError):
                raise  # a refusal, which the client takes for a Hub out of reach
            # Nobody can say whether the repository has this file; the next one may be in the cache, and only there:
            # were the Hub back by now, another file would be taken than usual.
            unreachable = unreachable or error
            options["local_files_only"] = True
    if unreachable:
        raise unreachable
    raise WeightsError("hub.no_weights", address=address, names=", ".join(_WEIGHTS_NAMES))


def _download_side_files(repo_id: str, commit: str) -> None:
    """Download the files with the names of classes, where the repository has them.

    Args:
        repo_id: `USER/NAME`.
        commit: of the weights.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    for side_name in _SIDE_NAMES:
        # Not there, or never cached.
        with suppress(RemoteEntryNotFoundError, LocalEntryNotFoundError):
            hf_hub_download(repo_id, side_name, revision=commit)


def _find_other_kind(repo_id: str) -> str:
    """Return `dataset` or `space` if a repository of that name is one; empty if it is neither, or the Hub refuses."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    for kind in ("dataset", "space"):
        with suppress(HfHubHTTPError):
            if HfApi().repo_exists(repo_id, repo_type=kind):
                return kind
    return ""


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

    # The error of the HTTP library below, whichever it is.
    http_error: Any = errors.HfHubHTTPError.__bases__[0]
    try:
        yield
    except errors.HFValidationError as cause:
        raise error_type("hub.name", name=subject) from cause
    except errors.LocalEntryNotFoundError as cause:
        refusal = cause.__cause__
        # The client says that it finds nothing here, whatever the Hub has answered.
        code, status = _find_status(refusal) if isinstance(refusal, errors.HfHubHTTPError) else ("hub.offline", 0)
        raise error_type(code, name=subject, status=status) from cause
    except errors.HfHubHTTPError as cause:
        code, status = _find_status(cause)
        raise error_type(code, name=subject, status=status) from cause
    except (http_error, ConnectionError, TimeoutError) as cause:
        raise error_type("hub.offline", name=subject) from cause
    except OSError as cause:
        raise error_type("hub.disk", name=subject, cause=cause.strerror or type(cause).__name__) from cause
    # What the client cannot read, as from a proxy: no JSON, or without what the Hub always sends.
    except (KeyError, ValueError) as cause:
        raise error_type("hub.answer", name=subject) from cause


def _find_status(error: HfHubHTTPError) -> tuple[str, int]:
    """Return the code of the sentence about an answer of the Hub, and its HTTP status."""
    from huggingface_hub import errors

    status = error.response.status_code
    kinds = {
        errors.RevisionNotFoundError: "hub.revision",
        errors.GatedRepoError: "hub.gated",
        # The Hub answers 401 to whoever may not see a repository, as if there were none.
        errors.RepositoryNotFoundError: "hub.missing",
    }
    code = next((code for kind, code in kinds.items() if isinstance(error, kind)), None)
    return code or _STATUS_CODES.get(status, "hub.status"), status
