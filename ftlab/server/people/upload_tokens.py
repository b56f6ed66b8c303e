"""Secret names of uploads: 128 random bits, then the beginning of the owner's digest (`run_quota.make_owner`)."""

from __future__ import annotations

import re
import secrets

_TOKEN_PATTERN = re.compile(r"[0-9a-f]{32}([0-9a-f]{16})")


def make_token(owner: str) -> str:
    """Return a new token.

    Args:
        owner: whose upload it names; empty for nobody's.
    """
    return secrets.token_hex(16) + get_owner_part(owner)


def get_owner_part(owner: str) -> str:
    """Return the end of the tokens of an owner; zeros for nobody."""
    return owner[:16] or "0" * 16


def parse_owner_part(name: str) -> str | None:
    """Return the end of a token that tells its owner; None where a text is no token.

    Args:
        name: name of a folder, or what a page sent.
    """
    match = _TOKEN_PATTERN.fullmatch(name)
    return match[1] if match else None
