"""The server's part of OpenID Connect: the authorization code flow with PKCE.

The token comes from the provider itself, over TLS, and so does what it says of the person: no signature has to be
checked, and no browser gets a token. Gradio's own sign-in keeps the token in a cookie of the browser, signed but
readable, and answers a refusal by an error of the server.
"""

from __future__ import annotations

import base64
import hashlib
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx

from ftlab.server.accounts.account_store import Account
from ftlab.server.accounts.sign_in_settings import SignInSettings
from ftlab.server.people.person_names import normalize_name

PROVIDER_TIMEOUT_SECONDS = 10.0
"""Seconds that the provider has for each answer."""
DEFAULT_TOKEN_SECONDS, MAX_TOKEN_SECONDS = 3600.0, 30 * 86400.0
"""Seconds for which a token holds of which nothing is said, and at most."""
MAX_SUBJECT_CHARS = 200
"""Characters of the provider's identifier of a person."""
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint")


class ProviderError(Exception):
    """The provider does not answer as it should; the text has nothing secret in it."""


class OpenIdClient:
    """Questions to the provider. Used by the server's event loop only."""

    def __init__(self, settings: SignInSettings) -> None:
        """Refer to the provider, which is asked at the first sign-in.

        Args:
            settings: how people sign in.
        """
        self._settings = settings
        self._endpoints: dict[str, str] = {}

    async def build_login_url(self, state: str, verifier: str, redirect_url: str, scopes: str) -> str:
        """Return the address at the provider to which a browser is sent.

        Args:
            state: random text that the provider sends back.
            verifier: random text of which the provider gets a digest now, and the text with the code (PKCE).
            redirect_url: where the provider sends the browser then.
            scopes: what the person is asked for, separated by spaces.

        Returns:
            The address.

        Raises:
            ProviderError: the provider does not say where its pages are.
        """  # noqa: DOC502 (`_find_endpoints` raises it)
        endpoints = await self._find_endpoints()
        digest = hashlib.sha256(verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": redirect_url,
            "scope": scopes,
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        separator = "&" if urlsplit(endpoints["authorization_endpoint"]).query else "?"
        return f"{endpoints['authorization_endpoint']}{separator}{urlencode(query)}"

    async def fetch_account(self, code: str, verifier: str, redirect_url: str, scopes: str) -> Account:
        """Return the account that has agreed.

        Args:
            code: as the browser brought it from the provider.
            verifier: as for `build_login_url`.
            redirect_url: as for `build_login_url`.
            scopes: as for `build_login_url`.

        Returns:
            The account.

        Raises:
            ProviderError: the code is none of the provider's, or it does not answer.
        """
        endpoints = await self._find_endpoints()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_url,
            "client_id": self._settings.client_id,
            "code_verifier": verifier,
        }
        credentials = httpx.BasicAuth(self._settings.client_id, self._settings.client_secret)
        token = await _ask("POST", endpoints["token_endpoint"], data=form, auth=credentials)
        access_token, seconds = token.get("access_token"), token.get("expires_in")
        if not isinstance(access_token, str) or not access_token:
            raise ProviderError("no access token in the provider's answer")
        headers = {"Authorization": f"Bearer {access_token}"}
        profile = await _ask("GET", endpoints["userinfo_endpoint"], headers=headers)
        subject, name = profile.get("sub"), profile.get("preferred_username")
        if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARS:
            raise ProviderError("no identifier of the person in the provider's answer")
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0
        lifetime = min(float(seconds), MAX_TOKEN_SECONDS) if is_number and seconds else DEFAULT_TOKEN_SECONDS
        shown_name = normalize_name(name) if isinstance(name, str) else ""
        # A provider that grants what it was asked for need not say so (RFC 6749, section 5.1).
        granted = token.get("scope", scopes)
        granted_scopes = frozenset(granted.split()) if isinstance(granted, str) else frozenset()
        name, expires = shown_name or subject[:40], time.monotonic() + lifetime
        return Account(f"hf:{subject}", name, access_token, expires, granted_scopes)

    async def _find_endpoints(self) -> dict[str, str]:
        """Return the provider's addresses; they are asked for once.

        Raises:
            ProviderError: it does not name them, or one without TLS though it has TLS itself.
        """
        if not self._endpoints:
            provider_url = self._settings.provider_url
            answer = await _ask("GET", f"{provider_url}/.well-known/openid-configuration")
            endpoints = {key: str(answer.get(key, "")) for key in _ENDPOINTS}
            schemes = {"https"} if provider_url.startswith("https:") else {"http", "https"}
            if any(urlsplit(url).scheme not in schemes for url in endpoints.values()):
                raise ProviderError("the provider's addresses are missing or not safe")
            self._endpoints = endpoints
        return self._endpoints


async def _ask(method: str, url: str, **options: Any) -> dict[str, Any]:
    """Return the JSON object that the provider answers with.

    Raises:
        ProviderError: it does not answer, or not with one.
    """
    try:
        # No redirects: the secret and the token go to where the provider's own document says.
        async with httpx.AsyncClient(timeout=PROVIDER_TIMEOUT_SECONDS, follow_redirects=False) as client:
            answer = await client.request(method, url, **options)
        if answer.status_code != 200:
            raise ProviderError(f"status {answer.status_code} from {urlsplit(url).hostname}")
        values = answer.json()
    except httpx.HTTPError as cause:
        raise ProviderError(f"{type(cause).__name__} from {urlsplit(url).hostname}") from None
    except ValueError:
        raise ProviderError(f"no JSON from {urlsplit(url).hostname}") from None
    if not isinstance(values, dict):
        raise ProviderError(f"no JSON object from {urlsplit(url).hostname}")
    return values
