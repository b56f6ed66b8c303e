"""Visitors of the page, told apart by a cookie that this server signed.

A session's name is chosen by the page, and an address is shared by a school or by all visitors of a Space. So the
server hands each browser a random identity with a signature (HMAC-SHA256), which nobody else can make. It says nothing
about the person, and scripts of the page cannot read it (`HttpOnly`). What the person is called, and what they may do,
is kept by the server (`ftlab.server.people`).
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from itsdangerous import BadSignature, Signer
from starlette.requests import cookie_parser

from ftlab.core import file_io
from ftlab.server.accounts.account_store import Account
from ftlab.server.people.person import Person

COOKIE_NAME = "ftlab_id"
"""Name of the cookie: not `session`, which Gradio's sign-in uses."""
COOKIE_MAX_AGE_SECONDS = 180 * 86400
"""Seconds for which a browser keeps the cookie: a term of a class."""
KEY_FILE = "visitor_key"
"""File in `FTLAB_HOME` that holds the key of the signature."""
KEY_BYTES = 32
"""Length of the key."""
NEW_NAME_KEY = "ftlab.new_name"
"""Key of an ASGI scope with the identity that the visitor has from this answer on: who signs in gets a new one, because
the one before may be known to somebody else."""

_NAME_PATTERN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Visitor:
    """Who sent a request.

    Attributes:
        name: the identity in the cookie; for a program that sends none, its address.
        address: where the request came from; for IPv6 the network of 2^64 addresses that one household has.
        has_cookie: the request had a cookie of this server.
        person: whom the server knows by the cookie, or by the account.
        account: with which this browser is signed in; None: with none.
    """

    name: str
    address: str
    has_cookie: bool
    person: Person
    account: Account | None = None

    @property
    def identity(self) -> str:
        """Return the identity by which the server knows the person: that of the account, or of the cookie."""
        return self.account.id if self.account else self.name


class VisitorCookies:
    """Creation and check of the cookie."""

    def __init__(self, key: bytes) -> None:
        """Store the key of the signature."""
        self._signer = Signer(key, salt=COOKIE_NAME, digest_method=hashlib.sha256)

    def create_value(self, name: str = "") -> str:
        """Return the value of a new cookie: an identity and its signature.

        Args:
            name: as `create_name` returns it; empty: a new one.
        """
        return self._signer.sign(name or create_name()).decode()

    def read_name(self, cookie_header: str) -> str | None:
        """Return the identity in a Cookie header, None where it has none that this server signed."""
        value = cookie_parser(cookie_header).get(COOKIE_NAME, "")
        try:
            name = self._signer.unsign(value).decode()
        except (BadSignature, UnicodeError):
            return None
        return name if _NAME_PATTERN.fullmatch(name) else None


def create_name() -> str:
    """Return a random identity, 32 hexadecimal digits."""
    return secrets.token_hex(16)


def format_cookie(value: str, *, in_frame: bool, is_https: bool) -> str:
    """Return the Set-Cookie header of a visitor.

    Args:
        value: as `VisitorCookies.create_value` returns it.
        in_frame: the page is shown in a frame of another site (a Space); the cookie is then kept for that site only.
        is_https: the visitor reaches the page by https.

    Returns:
        Value of the header.
    """
    site = "SameSite=None; Secure; Partitioned" if in_frame else "SameSite=Lax" + ("; Secure" if is_https else "")
    return f"{COOKIE_NAME}={value}; Path=/; Max-Age={COOKIE_MAX_AGE_SECONDS}; HttpOnly; {site}"


def load_key(folder: Path) -> bytes:
    """Return the key of the signature; create it at the first start, readable by its owner only.

    Args:
        folder: `FTLAB_HOME`.

    Returns:
        The key. Where the folder cannot be written, a key for this process: its cookies end with it.
    """
    key_path = folder / KEY_FILE
    try:
        if key_path.exists() and len(key := key_path.read_bytes()) == KEY_BYTES:
            key_path.chmod(0o600)
            return key
        file_io.write_private_file(key_path, secrets.token_bytes(KEY_BYTES))
        return key_path.read_bytes()
    except OSError as cause:
        logging.getLogger(__name__).warning("visitors are forgotten when the server ends: %s", cause)
        return secrets.token_bytes(KEY_BYTES)


def shorten_address(address: str) -> str:
    """Return an address, of IPv6 only the network: one household has 2^64 of them.

    Args:
        address: as the connection has it.

    Returns:
        The address or network; as it is where it is no IP address.
    """
    try:
        ip_address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip_address, ipaddress.IPv4Address):
        return str(ip_address)
    if ip_address.ipv4_mapped is not None:
        return str(ip_address.ipv4_mapped)
    return str(ipaddress.ip_network((ip_address, 64), strict=False))
