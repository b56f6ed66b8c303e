"""Refuses every connection that leaves this machine, and writes down who tried.

The tests install it in their own process, and by `sitecustomize.py` beside it in those they start.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys

LOG = "FTLAB_TEST_NETWORK_LOG"
"""Environment variable: the file the attempts go to, a line each."""

_EVENTS = {"socket.connect": 1, "socket.sendto": 1, "socket.getaddrinfo": 0, "socket.gethostbyname": 0}
"""Audit events, and which of their arguments holds the address or the host."""


def local(host: object) -> bool:
    """Whether a host is this machine. Nothing at all, as in a listening socket's address, is."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(str(host))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook.

    Raises:
        OSError: the address lies outside this machine, as if there were no network.
    """
    if event not in _EVENTS:
        return
    target = arguments[_EVENTS[event]]
    if event in ("socket.connect", "socket.sendto"):
        if not isinstance(target, tuple):  # a socket of the file system
            return
        target = target[0]
    if local(target):
        return
    if LOG in os.environ:
        from pathlib import Path  # not before: every process that a test starts would wait for it

        with Path(os.environ[LOG]).open("a", encoding="utf-8") as log:
            log.write(f"{event} {target!r} by {' '.join(sys.orig_argv)}\n")
    raise socket.gaierror(socket.EAI_NONAME, "the tests have no network")
