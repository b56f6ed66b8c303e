"""Addresses at which others in the network reach this machine."""

from __future__ import annotations

import ipaddress
import re
import socket

import psutil

ANY_ADDRESSES = ("0.0.0.0", "::", "")
"""Hosts that stand for every address of this machine."""

# Bridges of containers and virtual machines: addresses that only this machine reaches.
_VIRTUAL_INTERFACE_PATTERN = re.compile(
    r"(docker|br-|veth|virbr|vmnet|vboxnet|vEthernet|podman|cni|lxc|tailscale)", re.I
)


def list_network_addresses() -> list[str]:
    """Return the IPv4 addresses of this machine that others may reach, the likeliest first.

    Returns:
        Addresses of interfaces that are up; private ones before public ones, those of virtual interfaces last.
    """
    states = psutil.net_if_stats()
    ranked_addresses = []
    for name, addresses in psutil.net_if_addrs().items():
        if name in states and not states[name].isup:
            continue
        for address in addresses:
            if address.family is not socket.AF_INET:
                continue
            ip_address = ipaddress.IPv4Address(address.address)
            if not (ip_address.is_loopback or ip_address.is_link_local or ip_address.is_unspecified):
                is_virtual = _VIRTUAL_INTERFACE_PATTERN.match(name) is not None
                ranked_addresses.append((is_virtual, not ip_address.is_private, str(ip_address)))
    return [address for *_, address in sorted(ranked_addresses, key=lambda ranked: ranked[:2])]


def format_url(host: str, port: int, *, is_https: bool) -> str:
    """Return the address of the page.

    Args:
        host: name or IP address.
        port: port.
        is_https: the server answers by HTTPS.

    Returns:
        A URL with a slash at its end.
    """
    shown_host = f"[{host}]" if ":" in host else host
    return f"{'https' if is_https else 'http'}://{shown_host}:{port}/"


def list_urls(host: str, port: int, *, is_https: bool) -> list[str]:
    """Return the addresses at which others reach a server, the likeliest first.

    Args:
        host: address that the server listens on.
        port: port.
        is_https: the server answers by HTTPS.

    Returns:
        URLs; for a server that listens on every address, one for each in the network, and none where there is none.
    """
    hosts = list_network_addresses() if host in ANY_ADDRESSES else [host]
    return [format_url(one_host, port, is_https=is_https) for one_host in hosts]
