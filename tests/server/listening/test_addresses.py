"""Addresses that are printed: those at which others reach this machine."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import psutil
import pytest

from ftlab.server.listening import addresses


def interface(address: str, family: socket.AddressFamily = socket.AF_INET) -> list[SimpleNamespace]:
    return [SimpleNamespace(family=family, address=address)]


def test_the_likeliest_address_comes_first_and_those_that_nobody_reaches_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {
        "lo": interface("127.0.0.1"),
        "docker0": interface("172.17.0.1"),
        "eth1": interface("93.184.216.34"),
        "wlan0": interface("192.168.1.5"),
        "eth2": interface("10.0.0.9"),
        "usb0": interface("169.254.3.4"),
        "eth3": interface("fe80::1", socket.AF_INET6),
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: found)
    monkeypatch.setattr(psutil, "net_if_stats", lambda: {"eth2": SimpleNamespace(isup=False)})
    assert addresses.list_network_addresses() == ["192.168.1.5", "93.184.216.34", "172.17.0.1"]
    assert addresses.list_urls("0.0.0.0", 7860, is_https=True)[0] == "https://192.168.1.5:7860/"
    monkeypatch.setattr(psutil, "net_if_addrs", dict)
    assert addresses.list_urls("0.0.0.0", 7860, is_https=False) == []


def test_an_address_that_was_named_is_the_only_one() -> None:
    assert addresses.list_urls("192.168.1.7", 80, is_https=False) == ["http://192.168.1.7:80/"]
    assert addresses.format_url("::1", 7860, is_https=False) == "http://[::1]:7860/"
