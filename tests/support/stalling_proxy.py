"""A network between a client and a server that can stop to carry anything, and go on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK_BYTES = 65536


class StallingProxy:
    """Carries bytes to a port of this machine and back, while `flows` is set; connections stay open meanwhile.

    Attributes:
        flows: whether it carries anything.
        port: port at which the server is reached by it.
        url: address of that port.
    """

    def __init__(self, target_port: int) -> None:
        self.flows = threading.Event()
        self.flows.set()
        self._target_port, self._sockets = target_port, list[socket.socket]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.flows.set()
        for end in (self._listener, *self._sockets):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._target_port))
                self._sockets += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(_CHUNK_BYTES):
                self.flows.wait()
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)


@contextmanager
def carrying(port: int) -> Iterator[StallingProxy]:
    """A network at work."""
    proxy = StallingProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
