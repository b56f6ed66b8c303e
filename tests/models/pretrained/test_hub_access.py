"""Addresses on the Hugging Face Hub, and its errors as one line."""

from __future__ import annotations

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from ftlab.core.errors import WeightsError
from ftlab.models.pretrained.hub_access import HubError, is_hub_address, parse_address, translate_hub_errors


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
