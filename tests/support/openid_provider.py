"""An OpenID provider on this machine: it agrees to every sign-in, unless it is told otherwise."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CLIENT_ID, CLIENT_SECRET = "ftlab-client", "client-secret-words"
TOKEN = "token-of-the-account"


class OpenIdProvider(ThreadingHTTPServer):
    """Gives codes, one token for each, and says whose it is.

    Attributes:
        subject: identifier of the person who agrees.
        name: what the person is called.
        lifetime: seconds for which a token holds.
        scopes: what the person was asked for last.
        granted: what they agree to; None: to all, without a word about it.
        statuses: by a part of the path, what its requests are answered with instead.
        asked: the paths that were asked for.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.subject: Any = "5f1"
        self.name: Any = "ann-hf"
        self.lifetime: Any = 3600
        self.scopes, self.granted = "", None  # type: str, Any
        self.statuses: dict[str, int] = {}
        self.asked: list[str] = []
        self.challenges: dict[str, tuple[str, str]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What a Space with `hf_oauth: true` finds in its environment."""
        return {
            "SPACE_ID": "someone/ftlab",
            "SPACE_HOST": "someone-ftlab.hf.space",
            "OAUTH_CLIENT_ID": CLIENT_ID,
            "OAUTH_CLIENT_SECRET": CLIENT_SECRET,
            "OAUTH_SCOPES": "openid profile contribute-repos",
            "OPENID_PROVIDER_URL": self.url,
        }

    def agree(self, login_url: str) -> str:
        """What the browser is sent back with, once the person has agreed."""
        parts = urlsplit(login_url)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.url}/authorize"
        assert (query["client_id"], query["response_type"]) == (CLIENT_ID, "code")
        self.scopes = query["scope"]
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_hex(8)
        self.challenges[code] = (query["code_challenge"], query["redirect_uri"])
        return f"code={code}&state={query['state']}"


class _Handler(BaseHTTPRequestHandler):
    server: OpenIdProvider

    def do_GET(self) -> None:
        url = self.server.url
        if self.path == "/.well-known/openid-configuration":
            names = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint")
            self._answer(
                {name: f"{url}/{path}" for name, path in zip(names, ("authorize", "token", "me"), strict=True)}
            )
        elif self.headers.get("Authorization") == f"Bearer {TOKEN}":
            self._answer({"sub": self.server.subject, "preferred_username": self.server.name})
        else:
            self._answer({"error": "invalid_token"}, 401)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        credentials = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        digest = hashlib.sha256(form["code_verifier"][0].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        expected = self.server.challenges.pop(form["code"][0], None)  # a code holds once
        is_right = expected == (challenge, form["redirect_uri"][0])
        if self.headers.get("Authorization") != f"Basic {credentials}" or not is_right:
            return self._answer({"error": "invalid_grant"}, 400)
        values = {"access_token": TOKEN, "token_type": "bearer", "expires_in": self.server.lifetime}
        return self._answer(values if self.server.granted is None else {**values, "scope": self.server.granted})

    def _answer(self, values: dict[str, Any], status: int = 200) -> None:
        self.server.asked.append(self.path)
        status = next((code for part, code in self.server.statuses.items() if part in self.path), status)
        body = json.dumps(values).encode() if status == 200 else b"<html>out of order</html>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def serve_provider() -> Iterator[OpenIdProvider]:
    with OpenIdProvider() as provider:
        thread = threading.Thread(target=provider.serve_forever, daemon=True)
        thread.start()
        yield provider
        provider.shutdown()
        thread.join()
