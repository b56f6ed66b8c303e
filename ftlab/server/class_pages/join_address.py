"""The address by which a class joins, as text and as a QR code."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

import segno

from ftlab.core.html import Markup
from ftlab.server.listening.addresses import list_network_addresses


def build_page_address(request_url: str, *, is_reachable: bool = True) -> str:
    """Return the address of the page for others, from the one that a teacher used.

    Args:
        request_url: address of any page of the server, as the teacher's browser knows it.
        is_reachable: the server listens on addresses of the network, not on this machine's own only.

    Returns:
        Scheme, host and port with a slash at its end; the machine's address in the network where the server is
        reachable and the teacher's is of this machine only.
    """
    parts = urlsplit(request_url)
    host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    if is_reachable and (host == "localhost" or _is_loopback_address(host)):
        host = next(iter(list_network_addresses()), host)
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}/"


@lru_cache(maxsize=8)
def render_qr_code(text: str) -> Markup:
    """Return a QR code as SVG, dark on white also on a dark page: cameras read no other.

    Args:
        text: what it holds.
    """
    code = segno.make(text, error="m", micro=False)
    svg = code.svg_inline(border=2, dark="#000", light="#fff", omitsize=True, svgclass="qr", lineclass=None)
    return Markup(svg)


def _is_loopback_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
