"""Addresses on the Hugging Face Hub, and its errors as one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from ftlab.core.errors import WeightsError
from ftlab.models.pretrained.hub_access import (
    HubError,
    download_model,
    is_hub_address,
    parse_address,
    translate_hub_errors,
)
from tests.support.hub_server import HubServer, serving_hub


@pytest.mark.parametrize(
    ("text", "repo_id", "revision"),
    [
        ("hf://me/model", "me/model", ""),
        ("hf://me/my.model-1@v1.0", "me/my.model-1", "v1.0"),
        ("hf://me/model@refs/pr/1", "me/model", "refs/pr/1"),
    ],
)
def test_an_address_is_repository_and_revision(text: str, repo_id: str, revision: str) -> None:
    address = parse_address(text)
    assert (address.repo_id, address.revision) == (repo_id, revision)
    assert str(address) == text


@pytest.mark.parametrize("text", ["hf://me", "hf://", "hf://me/a/b", "hf://me/a b", "hf://me/a@"])
def test_what_is_no_address_is_told(text: str) -> None:
    assert is_hub_address(text)
    with pytest.raises(WeightsError, match="is no model on the Hugging Face Hub"):
        parse_address(text)


@pytest.mark.parametrize("cause", [LocalEntryNotFoundError("secret"), OfflineModeIsEnabled("secret")])
def test_a_hub_out_of_reach_is_told_without_the_clients_words(cause: Exception) -> None:
    with (
        pytest.raises(HubError, match="me/model: the Hugging Face Hub cannot be reached") as caught,
        translate_hub_errors("me/model"),
    ):
        raise cause
    assert "secret" not in str(caught.value)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub that the client of this process asks; it has read its own settings when it was imported."""
    with serving_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        server.add_commit("models/me/model", {"model.safetensors": b"weights", "config.json": b"{}"})
        server.add_commit("models/me/old", {"pytorch_model.bin": b"weights"})
        server.add_commit("models/me/empty", {"README.md": b"-"})
        server.add_commit("datasets/me/pictures", {"README.md": b"-"})
        server.add_commit("spaces/me/app", {"README.md": b"-"})
        yield server


@pytest.mark.parametrize(
    ("address", "refusal", "error_code", "sentence"),
    [
        ("hf://me/model", 403, "GatedRepo", "only to those who have accepted its terms"),
        ("hf://me/model", 401, "GatedRepo", "only to those who have accepted its terms"),
        ("hf://me/model", 401, "RepoNotFound", "is not on the Hugging Face Hub, or is private"),
        ("hf://me/model", 401, "", r"does not accept the token \(401\)"),
        ("hf://me/model", 403, "", r"does not let this token use hf://me/model \(403\)"),
        ("hf://me/model", 400, "", "has refused hf://me/model with status 400"),
        ("hf://me/model", 404, "RepoNotFound", "is not on the Hugging Face Hub"),
        ("hf://me/none", 0, "", "is not on the Hugging Face Hub"),
        ("hf://me/model@v9", 0, "", "has no such revision"),
        ("hf://me/empty", 0, "", "has no weights"),
        ("hf://me/pictures", 0, "", "is a data set"),
        ("hf://me/app", 0, "", "is a Space"),
        ("hf://datasets/me/pictures", 0, "", "is a data set"),
        ("hf://spaces/me/app", 0, "", "is a Space"),
    ],
)
def test_every_refusal_is_one_clear_line(
    hub: HubServer, address: str, refusal: int, error_code: str, sentence: str
) -> None:
    hub.refusal, hub.error_code = refusal, error_code
    with pytest.raises(WeightsError, match=sentence) as caught:
        download_model(parse_address(address))
    assert "\n" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize(("status", "sentence"), [(429, "takes no more requests"), (503, "with status 503")])
def test_a_busy_hub_is_told_after_the_clients_own_tries(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, status: int, sentence: str
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _seconds: None)
    hub.refusal = status
    with pytest.raises(WeightsError, match=sentence):
        download_model(parse_address("hf://me/model"))


@pytest.mark.parametrize("name", ["me/model", "me/old"])
def test_without_a_network_the_cache_is_taken_whichever_file_it_has(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    online = download_model(parse_address(f"hf://{name}"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.requests)
    assert download_model(parse_address(f"hf://{name}")) == online
    assert len(hub.requests) == asked
    with pytest.raises(WeightsError, match="cannot be reached, and the files are not in its cache"):
        download_model(parse_address("hf://me/empty"))


@pytest.mark.usefixtures("hub")
def test_a_cache_that_cannot_be_written_is_told_with_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(WeightsError, match=r"cannot be stored on this machine.*HF_HOME"):
        download_model(parse_address("hf://me/model"))


def test_a_full_disk_is_not_taken_for_a_hub_out_of_reach() -> None:
    with (
        pytest.raises(HubError, match=r"me/model: a file cannot be stored.*No space left"),
        translate_hub_errors("me/model"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
