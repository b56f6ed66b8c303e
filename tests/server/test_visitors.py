"""Visitors: told apart by a cookie that only this server can make."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ftlab.server.visitors import COOKIE_NAME, KEY_BYTES, VisitorCookies, format_cookie, load_key, shorten_address

COOKIES = VisitorCookies(b"k" * KEY_BYTES)


def test_a_cookie_is_recognized_and_each_visitor_has_another() -> None:
    first, second = COOKIES.create_value(), COOKIES.create_value()
    names = [COOKIES.read_name(f"a=b; {COOKIE_NAME}={value}; c=d") for value in (first, second)]
    assert None not in names
    assert names[0] != names[1]
    assert names[0] == COOKIES.read_name(f"{COOKIE_NAME}={first}")


def test_nobody_else_can_make_one() -> None:
    value = COOKIES.create_value()
    name, _, signature = value.partition(".")
    other_key = VisitorCookies(b"x" * KEY_BYTES).create_value()
    changed = f"{'0' * 32}.{signature}"
    for invented in (other_key, changed, name, f"{name}.", f"{name}.{'0' * 64}", value + "0", value.upper(), "", "."):
        assert COOKIES.read_name(f"{COOKIE_NAME}={invented}") is None
    assert COOKIES.read_name("") is None


def test_scripts_and_other_sites_do_not_get_it_and_a_frame_keeps_its_own() -> None:
    plain = format_cookie("v", in_frame=False, is_https=False)
    assert "HttpOnly" in plain
    assert "SameSite=Lax" in plain
    assert "Secure" not in plain, "a classroom's server has no https"
    assert "Secure" in format_cookie("v", in_frame=False, is_https=True)
    assert format_cookie("v", in_frame=True, is_https=False).endswith("SameSite=None; Secure; Partitioned")


def test_the_key_is_made_once_and_is_nobody_elses_to_read(tmp_path: Path) -> None:
    key = load_key(tmp_path / "home")
    assert len(key) == KEY_BYTES
    assert load_key(tmp_path / "home") == key
    assert load_key(tmp_path / "other") != key
    key_path = tmp_path / "home" / "visitor_key"
    if os.name != "nt":
        assert stat.S_IMODE(key_path.stat().st_mode) == 0o600
        key_path.chmod(0o644)
        load_key(tmp_path / "home")
        assert stat.S_IMODE(key_path.stat().st_mode) == 0o600


def test_a_damaged_key_is_replaced_and_an_unwritable_home_is_no_obstacle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "visitor_key").write_bytes(b"short")
    assert len(load_key(tmp_path)) == KEY_BYTES
    (tmp_path / "file").touch()
    assert len(load_key(tmp_path / "file")) == KEY_BYTES
    assert "forgotten" in caplog.text


@pytest.mark.parametrize(
    ("address", "short"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_a_household_counts_as_one_address(address: str, short: str) -> None:
    assert shorten_address(address) == short
