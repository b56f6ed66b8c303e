"""Who is signed in, for how long, and how many at a time."""

from __future__ import annotations

import time

from ftlab.server.accounts.account_store import Account, AccountStore

ANN = "a" * 32


def make_account(number: int = 1, seconds: float = 60.0) -> Account:
    return Account(f"hf:{number}", f"name{number}", "token-of-the-account", time.monotonic() + seconds)


def test_a_browser_is_signed_in_until_it_signs_out() -> None:
    accounts, account = AccountStore(), make_account()
    assert accounts.find_account(ANN) is None
    accounts.sign_in(ANN, account)
    assert accounts.find_account(ANN) == account
    for nobody in (None, "", "b" * 32, account.id):
        assert accounts.find_account(nobody) is None
    accounts.sign_out(ANN)
    assert accounts.find_account(ANN) is None


def test_nobody_is_signed_in_longer_than_the_token_holds() -> None:
    accounts = AccountStore()
    accounts.sign_in(ANN, make_account(seconds=0.0))
    assert accounts.find_account(ANN) is None


def test_memory_is_bounded_and_whoever_was_not_here_for_longest_goes_first() -> None:
    accounts = AccountStore(capacity=2)
    for number in (1, 2):
        accounts.sign_in(str(number), make_account(number))
    accounts.find_account("1")
    accounts.sign_in("3", make_account(3))
    assert [number for number in "123" if accounts.find_account(number)] == ["1", "3"]


def test_the_token_is_in_no_text_that_is_made_of_the_account() -> None:
    assert "token-of-the-account" not in repr(make_account())
