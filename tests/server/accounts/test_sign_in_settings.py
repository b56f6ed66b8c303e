"""Where people can sign in: on a Space that was told how, and nowhere else."""

from __future__ import annotations

import pytest

from ftlab.server.accounts.sign_in_settings import read_sign_in_settings
from ftlab.server.profile import create_profile

SPACE = {
    "SPACE_ID": "someone/ftlab",
    "SPACE_HOST": "someone-ftlab.hf.space",
    "OAUTH_CLIENT_ID": "client",
    "OAUTH_CLIENT_SECRET": "secret-words",
    "OAUTH_SCOPES": "openid profile",
    "OPENID_PROVIDER_URL": "https://huggingface.co/",
}


def test_a_space_with_oauth_signs_people_in() -> None:
    settings = create_profile(environment=SPACE).sign_in
    assert settings is not None
    assert settings.provider_url == "https://huggingface.co"
    assert settings.public_url == "https://someone-ftlab.hf.space"


@pytest.mark.parametrize("name", SPACE)
@pytest.mark.parametrize("value", ["", " "])
def test_without_one_of_the_variables_nobody_signs_in_and_nothing_breaks(name: str, value: str) -> None:
    environment = {**SPACE, name: value}
    if name != "SPACE_ID":
        assert create_profile(environment=environment).is_space
    if name != "SPACE_ID" or not value:
        assert create_profile(environment=environment).sign_in is None
    del environment[name]
    assert create_profile(environment=environment).sign_in is None


def test_elsewhere_than_on_a_space_the_variables_count_for_nothing() -> None:
    environment = {name: value for name, value in SPACE.items() if name != "SPACE_ID"}
    for host in ("127.0.0.1", "0.0.0.0"):
        assert create_profile(host=host, environment=environment).sign_in is None


def test_a_space_with_a_domain_of_its_own_is_known_to_the_provider_by_the_first_name() -> None:
    settings = read_sign_in_settings({**SPACE, "SPACE_HOST": "someone-ftlab.hf.space,lab.example"})
    assert settings is not None
    assert settings.public_url == "https://someone-ftlab.hf.space"


@pytest.mark.parametrize("scopes", ["openid profile", "openid profile contribute-repos", "openid profile write-repos"])
def test_a_sign_in_asks_for_the_right_to_push_only_on_demand(scopes: str) -> None:
    settings = read_sign_in_settings({**SPACE, "OAUTH_SCOPES": scopes})
    assert settings is not None
    assert settings.can_ask_to_push is ("repos" in scopes)
    assert settings.list_scopes(can_push=False) == "openid profile"
    assert settings.list_scopes(can_push=True) == scopes


def test_the_secret_is_in_no_text_that_is_made_of_the_settings() -> None:
    profile = create_profile(environment=SPACE)
    assert "secret-words" not in f"{profile} {profile.sign_in!r}"
