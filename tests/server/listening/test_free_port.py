"""The port that a server listens on: the first free one, or one line about why there is none."""

from __future__ import annotations

import errno
import os
import socket
import sys

import pytest

from ftlab.core.errors import FtlabError
from ftlab.server.listening import free_port


def test_a_taken_port_gives_the_next_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < free_port.find_free_port("127.0.0.1", port) <= port + free_port.MAX_PORT_TRIES


def test_a_host_that_is_not_this_machines_is_refused_in_one_line() -> None:
    with pytest.raises(FtlabError, match=r"--host 203\.0\.113\.1 is not an address of this machine"):
        free_port.find_free_port("203.0.113.1", 7860)


@pytest.mark.parametrize("port", [-1, 65536, 10**30])
def test_a_number_that_is_no_port_is_refused_in_one_line(port: int) -> None:
    with pytest.raises(FtlabError, match=f"{port} is no port: choose one from 1 to 65535 with --port"):
        free_port.find_free_port("127.0.0.1", port)


@pytest.mark.skipif(sys.platform == "win32", reason="the same error has other reasons there")
def test_a_port_that_the_user_may_not_have_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(FtlabError, match="may not listen on port 80"):
        free_port.find_free_port("127.0.0.1", 80)
