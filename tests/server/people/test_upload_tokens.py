"""Secret names of uploads: random, and of use to their owner only."""

from __future__ import annotations

import pytest

from ftlab.server.people import upload_tokens
from tests.support.people import ANN, BEN


def test_a_token_tells_its_owner_and_no_other_is_like_it() -> None:
    first, second = (upload_tokens.make_token(ANN.owner) for _ in range(2))
    assert first != second
    assert upload_tokens.parse_owner_part(first) == upload_tokens.get_owner_part(ANN.owner)
    assert upload_tokens.parse_owner_part(first) != upload_tokens.get_owner_part(BEN.owner)
    assert upload_tokens.parse_owner_part(upload_tokens.make_token("")) == upload_tokens.get_owner_part("") == "0" * 16


@pytest.mark.parametrize("name", ["", "..", "a" * 47, "a" * 49, "A" * 48, f"{'a' * 47}/", f"{'a' * 48}\n"])
def test_what_is_no_token_has_no_owner(name: str) -> None:
    assert upload_tokens.parse_owner_part(name) is None
