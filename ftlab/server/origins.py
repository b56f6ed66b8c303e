"""Host names that the server answers to, and the sites whose pages may send requests that change something."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers

_FORWARDED_PREFIXES = (b"x-forwarded-", b"forwarded", b"x-gradio-server")
"""Beginnings of the headers by which a proxy says how a visitor reached it."""


class OriginRules:
    """Check of the headers Host and Origin: against DNS rebinding and requests by another site's page."""

    def __init__(self, hosts: tuple[str, ...] = ()) -> None:
        """Collect the allowed host names.

        Args:
            hosts: names to answer to besides IP addresses, `localhost` and the machine's own name; `*` for any.
        """
        # On a Space with a domain of its own the variable is a list.
        space_hosts = (name.strip() for name in os.environ.get("SPACE_HOST", "").split(","))
        self.public_hosts = {name.lower() for name in (*hosts, *space_hosts) if name}
        self.allowed_hosts = self.public_hosts | {"localhost", *_list_own_hosts()}

    def is_known_host(self, host: str) -> bool:
        """Return whether the Host header names this server, by IP address or allowed name."""
        name = _parse_host_name(host)
        if "*" in self.allowed_hosts or name in self.allowed_hosts:
            return True
        # DNS rebinding points a foreign name at this machine; an IP address cannot be rebound.
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def is_cross_site(self, headers: Headers) -> bool:
        """Return whether a page of another site sent this request.

        Programs send no Origin header and are allowed.
        """
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site") == "cross-site"
        origin_url = urlsplit(origin)
        return origin_url.netloc != headers.get("host") and origin_url.hostname not in self.public_hosts

    def drop_forwarded_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return headers without those by which anybody could say under which address the page is reached.

        Gradio builds the addresses of the page's files from them. A proxy's word counts only for a public name.

        Args:
            headers: raw headers of a request.

        Returns:
            The others, in their order.
        """
        return [
            (name, value)
            for name, value in headers
            if not name.lower().startswith(_FORWARDED_PREFIXES)
            or (name.lower() == b"x-forwarded-host" and self._names_public_host(value))
            or (name.lower() == b"x-forwarded-proto" and self.public_hosts)
        ]

    def list_own_netlocs(self, headers: Headers) -> set[str]:
        """Return the names, with a port, by which the page of this request knows this server.

        Args:
            headers: headers of a request that `is_cross_site` allows.

        Returns:
            Lower-case `host` or `host:port`.
        """
        netlocs = {headers.get("host", ""), urlsplit(headers.get("origin", "")).netloc, *self.public_hosts}
        return {netloc.lower() for netloc in netlocs if netloc}

    def _names_public_host(self, value: bytes) -> bool:
        return _parse_host_name(value.decode("latin-1").partition(",")[0].strip()) in self.public_hosts - {"*"}


def _list_own_hosts() -> list[str]:
    """Return the names of this machine: as it is, with `.local` (mDNS), and without its domain."""
    name = socket.gethostname().lower()
    return [name, f"{name}.local", name.split(".")[0]]


def _parse_host_name(host: str) -> str:
    """Return the name in a Host header without the port; empty where it holds credentials."""
    return (urlsplit(f"//{host}").hostname or "") if "@" not in host else ""
