"""Host names that the server answers to, and the sites whose pages may send requests that change something."""

from __future__ import annotations

import ipaddress
import os
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers


class OriginRules:
    """Check of the headers Host and Origin: against DNS rebinding and requests by another site's page."""

    def __init__(self, hosts: tuple[str, ...] = ()) -> None:
        """Collect the allowed host names.

        Args:
            hosts: names to answer to besides IP addresses, `localhost` and the machine's own name; `*` for any.
        """
        self.public_hosts = {name.lower() for name in (*hosts, os.environ.get("SPACE_HOST", "")) if name}
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


def _list_own_hosts() -> list[str]:
    """Return the names of this machine: as it is, with `.local` (mDNS), and without its domain."""
    name = socket.gethostname().lower()
    return [name, f"{name}.local", name.split(".")[0]]


def _parse_host_name(host: str) -> str:
    """Return the name in a Host header without the port; empty where it holds credentials."""
    return (urlsplit(f"//{host}").hostname or "") if "@" not in host else ""
