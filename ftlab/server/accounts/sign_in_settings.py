"""What a Space is told about sign-in by its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

PUSH_SCOPES = frozenset({"contribute-repos", "write-repos", "manage-repos"})
"""Scopes of Hugging Face that let a program push; the first one reaches only what the program itself has created."""


@dataclass(frozen=True)
class SignInSettings:
    """Settings of the sign-in of this server.

    Attributes:
        client_id: name of this server at the provider.
        client_secret: its password there; in no text that is made of the settings.
        scopes: what the server may ask for, separated by spaces.
        provider_url: address of the OpenID provider, without a slash at its end.
        public_url: address under which browsers reach this server, without a slash at its end.
    """

    client_id: str
    client_secret: str = field(repr=False)
    scopes: str
    provider_url: str
    public_url: str

    def list_scopes(self, *, can_push: bool) -> str:
        """Return the scopes of a sign-in, separated by spaces.

        Args:
            can_push: with those that let ftlab push, where this server may ask for any.
        """
        return " ".join(scope for scope in self.scopes.split() if can_push or scope not in PUSH_SCOPES)

    @property
    def can_ask_to_push(self) -> bool:
        """Return whether this server may ask people to let it push."""
        return not PUSH_SCOPES.isdisjoint(self.scopes.split())


def read_sign_in_settings(environment: Mapping[str, str] = os.environ) -> SignInSettings | None:
    """Return the settings that a Space with `hf_oauth: true` gets by its environment.

    Args:
        environment: environment variables.

    Returns:
        The settings; None elsewhere than on a Space, and where one of the variables is missing or empty.
    """
    names = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL")
    values = [environment.get(name, "").strip() for name in names]
    # With a domain of one's own it is a list; the provider knows the first name.
    host = environment.get("SPACE_HOST", "").split(",")[0].strip()
    if not environment.get("SPACE_ID") or not host or not all(values):
        return None
    client_id, client_secret, scopes, provider_url = values
    return SignInSettings(client_id, client_secret, scopes, provider_url.rstrip("/"), f"https://{host}")
