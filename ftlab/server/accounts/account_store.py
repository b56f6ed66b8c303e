"""Who has signed in with which account. It is kept in memory only: whoever comes after a restart signs in again."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from ftlab.server.accounts.sign_in_settings import PUSH_SCOPES

MAX_SIGNED_IN = 4096
"""Browsers that are signed in; beyond them, the one whose last request is longest ago is signed out."""


@dataclass(frozen=True)
class Account:
    """An account at the provider, for as long as its token holds.

    Attributes:
        id: identity, which no cookie can have: `hf:` and the provider's identifier.
        name: what the account is called.
        access_token: what opens the account's part of the Hub; in no text that is made of the account.
        expires: when the token ends, by `time.monotonic`, in seconds.
        scopes: what the token is good for.
    """

    id: str
    name: str
    access_token: str = field(repr=False)
    expires: float
    scopes: frozenset[str] = frozenset()

    @property
    def can_push(self) -> bool:
        """Return whether the token lets ftlab push to repositories of the account."""
        return not PUSH_SCOPES.isdisjoint(self.scopes)


class AccountStore:
    """Accounts by the identity in a browser's cookie. Thread-safe."""

    def __init__(self, capacity: int = MAX_SIGNED_IN) -> None:
        """Start with nobody signed in.

        Args:
            capacity: browsers that are signed in at a time.
        """
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._capacity, self._lock = capacity, threading.Lock()

    def find_account(self, visitor_id: str | None) -> Account | None:
        """Return the account of a browser; None where nobody has signed in there, or the token has ended.

        Args:
            visitor_id: identity from a cookie of this server; None without one.
        """
        with self._lock:
            account = self._accounts.get(visitor_id) if visitor_id else None
            if account is None or visitor_id is None:
                return None
            if account.expires <= time.monotonic():
                del self._accounts[visitor_id]
                return None
            self._accounts.move_to_end(visitor_id)
            return account

    def sign_in(self, visitor_id: str, account: Account) -> None:
        """Note that an account has signed in.

        Args:
            visitor_id: identity from the cookie of the browser.
            account: the account.
        """
        with self._lock:
            self._accounts[visitor_id] = account
            self._accounts.move_to_end(visitor_id)
            while len(self._accounts) > self._capacity:
                self._accounts.popitem(last=False)

    def sign_out(self, visitor_id: str) -> None:
        """Forget the account of a browser, and its token.

        Args:
            visitor_id: identity from the cookie of the browser.
        """
        with self._lock:
            self._accounts.pop(visitor_id, None)
