"""Find a port to listen on, before the page is built: a mistake is told at once."""

from __future__ import annotations

import errno
import socket
import sys

from ftlab.core.errors import FtlabError

MAX_PORT_TRIES = 100
"""Ports that are tried, from the requested one upwards."""
MAX_PORT = 65535
"""Largest number of a port."""


def find_free_port(host: str, first_port: int) -> int:
    """Return the first free port from `first_port` upwards.

    Args:
        host: address to listen on.
        first_port: the requested port.

    Returns:
        A port that could be bound a moment ago.

    Raises:
        FtlabError: none of `MAX_PORT_TRIES` ports is free, the user may not listen on it, it is no port, or the host is
            not an address of this machine.
    """
    if not 0 <= first_port <= MAX_PORT:
        raise FtlabError("page.port_number", port=first_port, most=MAX_PORT)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(first_port, min(first_port + MAX_PORT_TRIES, MAX_PORT + 1)):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As the server itself does, or a port in TIME_WAIT would count as taken. On Windows the option would allow
            # two servers on one port.
            if sys.platform != "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except socket.gaierror as cause:
                raise FtlabError("page.host", host=host) from cause
            except OSError as cause:
                if cause.errno == errno.EADDRNOTAVAIL:
                    raise FtlabError("page.host", host=host) from cause
                # On Windows the system also says so of ranges that it keeps for itself.
                if cause.errno == errno.EACCES and sys.platform != "win32":
                    raise FtlabError("page.port_denied", port=port) from cause
                continue
            return int(probe.getsockname()[1])
    raise FtlabError("page.no_port", first=first_port, last=min(first_port + MAX_PORT_TRIES - 1, MAX_PORT))
