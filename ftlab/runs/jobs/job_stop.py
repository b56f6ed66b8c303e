"""Stop events of the work that a page waits for in a process of its own: audits and exports. No torch."""

from __future__ import annotations

import secrets
import threading

_stops: dict[str, JobStop] = {}
"""Work of this process, by the names of `JobStop`."""


class JobStop:
    """Stop event of an audit or export, found by `request_stop` while the block runs, by a name only its page knows.

    Attributes:
        name: 128 random bits.
        event: set once the work was asked to stop.
        owner: whose work it is, as `run_quota.make_owner` returns it.
    """

    def __init__(self, owner: str = "") -> None:
        """Choose a name.

        Args:
            owner: whose work it is; empty for the host's.
        """
        self.name, self.event, self.owner = secrets.token_hex(16), threading.Event(), owner

    def __enter__(self) -> JobStop:
        """Let `request_stop` find the work.

        Returns:
            This.
        """
        _stops[self.name] = self
        return self

    def __exit__(self, *_: object) -> None:
        """Forget the work."""
        del _stops[self.name]


def request_stop(name: object, owner: str | None = None) -> None:
    """Ask the work of that name to stop; nothing happens if it has ended, or is somebody else's.

    Args:
        name: as a page sent it.
        owner: who asks, as for `JobStop`; None: somebody who may stop anybody's.
    """
    stop = _stops.get(name) if isinstance(name, str) else None
    if stop is not None and owner in (None, stop.owner):
        stop.event.set()
